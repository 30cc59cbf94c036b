"""The records that a command leaves: its events, or its outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from eventsource.commands.aggregate_codecs import AggregateCodecs
from eventsource.commands.request import Request
from eventsource.commands.states import Written
from eventsource.commands.status import Outcome
from eventsource.domain import Event
from eventsource.domain.definition import AggregateDefinition
from eventsource.errors import DecodeError, MessageTooLarge
from eventsource.log.headers import (
    CONTENT_HASH,
    EMPTY_TRAIL,
    EVENT_FIXED,
    NO_TRAIL_BYTES,
    TRACE_PARENT,
    Trail,
    fact_headers,
    outcome_es,
    source_header,
    trail_bytes,
    type_header,
    with_content_hash,
)
from eventsource.log.partitioner import short_key
from eventsource.log.record import Outgoing
from eventsource.names import Names
from eventsource.schemas import (
    DEFAULT_LIMITS,
    LoggedForm,
    MessageCodec,
    Taken,
    logged_form,
    record_fields,
    written_fingerprint,
)

EventRecords: Any  # either of two classes, which mypyc must not take for one
try:
    from eventsource.log.native_event_records import EventRecords
except ImportError:  # it was not compiled
    from eventsource.log.event_records import EventRecords

_Writing = tuple[Callable[[Any], bytes], tuple[str, bytes], Callable[[bytes], Event], LoggedForm | None]
"""How events of a class are written and read again: value, `ce_type`, reader; and what finds without reading what reading gives, where
that can be."""


_HEADER_BYTES: Final = EVENT_FIXED.size + 200
"""At most what an event's headers take, without the parts that differ in length: names, version, event number."""

EventsWritten = tuple[list[Outgoing], tuple[Event, ...], Written]
"""The records; the events to apply, and how they are read again.

Those to apply are what a replay reads: identical values, of which nothing that can be changed is held by anybody else. They are the
command's own where those come back as they are.
"""


class FactRecords:
    """Makes the records of one partition's events and outcomes."""

    def __init__(
        self,
        definition: AggregateDefinition[Any],
        partition: int,
        names: Names,
        commands_topic_id: bytes,
        codecs: AggregateCodecs,
        max_event_bytes: int,
    ) -> None:
        self.source = f"/{names.prefix}/{definition.name}"
        self._name = definition.name
        self._partition = partition
        self._topic_id = commands_topic_id
        self._max_bytes = max_event_bytes
        self._outcomes_topic = names.outcomes(definition.name)
        self._source = source_header(self.source)
        records = EventRecords(names.events(definition.name), partition, self._source, commands_topic_id)
        self._event: Callable[..., Outgoing] = records.event
        self._codecs = {name: codecs.events.codec(event) for name, event in definition.events.items()}
        self._by_class = {event: _writing(codecs, event) for event in definition.events.values()}
        self._outcomes = codecs.outcomes
        self._schemas = codecs.schemas
        self._appendable: set[tuple[int, int]] = set()
        self._command_types = {name: type_header(name) for name in definition.commands}

    def register_schemas(self) -> None:
        """Registers all that may be written, before the first transaction."""
        for codec in self._codecs.values():
            codec.register()
        self._outcomes.register()

    def events(self, request: Request, content_hash: bytes, events: tuple[Event, ...], version: int) -> EventsWritten:
        """Makes the records of a command's events on an aggregate at `version`.

        Raises `EncodeError`, and `MessageTooLarge` where one is too large to be written.
        """
        command, headers = request.record, request.headers
        command_id, traceparent, count = headers.command_id, headers.traceparent, len(events)
        trail = NO_TRAIL_BYTES if headers.trail is EMPTY_TRAIL else trail_bytes(_passed_on(headers.trail))
        other_bytes = _HEADER_BYTES + 4 * len(command_id) + len(self.source) + len(command.key) + len(trail)
        extras: list[tuple[str, bytes]] = []
        if traceparent is not None:
            extras.append((TRACE_PARENT, traceparent))
            other_bytes += len(traceparent)
        if content_hash != request.body_hash:
            extras.append((CONTENT_HASH, content_hash))
            other_bytes += len(CONTENT_HASH) + len(content_hash)
        own: list[Event] = []
        records: list[Outgoing] = []
        written: Written = []
        for index, event in enumerate(events, 1):
            write, ce_type, read, in_log = self._by_class[type(event)]
            value = write(event)
            outgoing = self._event(
                command, command_id, request.body_hash, trail, ce_type, value, version + index, index, count
            )
            if extras:
                outgoing = outgoing._replace(headers=[*outgoing.headers, *extras])
            # What is far from the limit need not be counted to the byte.
            if len(value) + len(ce_type[1]) + other_bytes > self._max_bytes:
                self._check_size(event, outgoing)
            records.append(outgoing)
            written.append((read, value))
            applied = in_log(event) if in_log is not None else None
            own.append(applied if applied is not None else read(value))
        return records, tuple(own), written

    def _check_size(self, event: Event, outgoing: Outgoing) -> None:
        size_bytes = outgoing.size_bytes
        if size_bytes > self._max_bytes:
            raise MessageTooLarge(
                f"event {event.message_name!r} takes {size_bytes} bytes, {self._max_bytes} are allowed: store what is large "
                "elsewhere and keep a reference in the event"
            )

    def outcome(self, request: Request, content_hash: bytes, outcome: Outcome, trail: Trail) -> Outgoing:
        """The record of a command's outcome. A key that no aggregate may have is shortened."""
        record, headers = request.record, request.headers
        es = outcome_es(
            self._topic_id,
            record.partition,
            record.offset,
            record.timestamp_ms,
            request.body_hash,
            _passed_on(trail),
        )
        ce_type = self._command_types.get(headers.type) or type_header(headers.type)
        written = fact_headers(self._source, ce_type, headers.command_id, outcome.version, es, headers.traceparent)
        if content_hash != request.body_hash:
            written = with_content_hash(written, content_hash)
        value = self._outcomes.encode(outcome)
        return Outgoing(self._outcomes_topic, self._partition, short_key(record.key), value, written)

    def read_events(self, events: Sequence[tuple[str, bytes]], patience_seconds: float) -> tuple[Event, ...]:
        """The events that came in an append, their types and values.

        Raises `DecodeError` if one is none of the aggregate's, or holds more than they do, or if they take too much memory together:
        that is found before any of them is decoded.
        """
        codecs = [self._codec(type_) for type_, _ in events]
        taken = Taken()
        for codec, (_, value) in zip(codecs, events, strict=True):
            excess = codec.excess(value, taken, DEFAULT_LIMITS, patience_seconds=patience_seconds)
            if excess is not None:
                raise DecodeError(
                    f"the events of an append, at {codec.schema.text.name}: {excess}: append fewer at a time"
                )
        return tuple(
            self._read_event(codec, value, patience_seconds) for codec, (_, value) in zip(codecs, events, strict=True)
        )

    def _codec(self, type_: str) -> MessageCodec[Event]:
        codec = self._codecs.get(type_.partition(".v")[0])
        if codec is None:
            raise DecodeError(
                f"{self._name} has no event {type_!r}: deploy the workers before the clients that append a new event"
            )
        return codec

    def _read_event(self, codec: MessageCodec[Event], value: bytes, patience_seconds: float) -> Event:
        event = codec.decode(value, patience_seconds=patience_seconds)
        self._check_fields(codec, written_fingerprint(value), patience_seconds)
        return event

    def _check_fields(self, codec: MessageCodec[Any], fingerprint: int, patience_seconds: float) -> None:
        """An event is read by what its class knows: what a newer client wrote besides would be lost with an accepted append."""
        own = codec.schema.text
        if fingerprint == own.fingerprint or (own.fingerprint, fingerprint) in self._appendable:
            return
        written = self._schemas.get(fingerprint, patience_seconds=patience_seconds)
        unknown = sorted(record_fields(written.schema()) - record_fields(own.schema()))
        if unknown:
            raise DecodeError(
                f"the event was written with a field {'.'.join(unknown[0])} that this worker does not know: deploy the workers before "
                "the clients that append it"
            )
        self._appendable.add((own.fingerprint, fingerprint))


def _writing(codecs: AggregateCodecs, event: type[Event]) -> _Writing:
    codec = codecs.events.codec(event)
    ce_type = type_header(event.message_name, event.message_revision)
    return codec.encode, ce_type, codec.decode, logged_form(codec.schema)


def _passed_on(trail: Trail) -> Trail:
    # What caused an event is its command, whose id the event carries: only the rest is passed on.
    if not trail.causation_id:
        return trail
    return Trail(trail.correlation_id, "", trail.actor, trail.metadata)
