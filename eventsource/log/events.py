"""From records to events: one decoder for projections, replays and tools, so that all read alike."""

from __future__ import annotations

from typing import Any, Final

from eventsource.domain import Aggregate, Event
from eventsource.errors import DecodeError, EventSourceError, ForkDetected, HeaderError
from eventsource.log.header_reading import read_event_headers
from eventsource.log.headers import EventHeaders
from eventsource.log.record import Record
from eventsource.log.recorded import Recorded, time_from_ms
from eventsource.log.texts import shortened
from eventsource.schemas import EVENT_ROLE, OWN_LIMITS, MessageCodec, SchemaStore, codecs_by_name

_MAX_DIGITS: Final = 20
"""As many as the framework writes."""


class EventDecoder:
    """Decodes the records of one aggregate's events topic. Safe to share between threads."""

    def __init__(self, aggregate: type[Aggregate[Any]], store: SchemaStore) -> None:
        definition = aggregate.__definition__
        self.aggregate = definition.name
        self._codecs: dict[str, MessageCodec[Event]] = codecs_by_name(
            definition.events, store, limits=OWN_LIMITS, role=EVENT_ROLE + definition.name
        )

    def codec(self, event: type[Event]) -> MessageCodec[Event]:
        """The codec of an event class of this aggregate."""
        return self._codecs[event.message_name]

    def decode(self, record: Record) -> Recorded:
        """The event in a record. Raises `HeaderError`, `DecodeError` or `UnknownFingerprint`, naming where the record stands."""
        headers = event_headers_of(record)
        event = self.event(record, headers)
        return Recorded(
            aggregate=self.aggregate,
            id=aggregate_id_of(record),
            version=headers.version,
            event=event,
            time=time_from_ms(headers.time_ms),
            command_id=headers.command_id,
            index=headers.index,
            count=headers.count,
            partition=record.partition,
            offset=record.offset,
            trail=headers.trail,
        )

    def event(self, record: Record, headers: EventHeaders, patience_seconds: float | None = None) -> Event:
        """The event alone, of a record whose headers were read. Raises `DecodeError` or `UnknownFingerprint`.

        `patience_seconds`: how long to wait for a schema that the store does not know yet; None leaves that to the store.
        """
        codec = self._codecs.get(headers.type)
        if codec is None or record.value is None:
            raise self._unreadable(record, headers)
        try:
            return codec.decode(record.value, patience_seconds=patience_seconds)
        except DecodeError as error:
            raise DecodeError(f"{_where(record)}: {error}") from error
        except (EventSourceError, KeyboardInterrupt):
            raise
        except BaseException as error:  # a default factory is user code
            raise DecodeError(
                f"{_where(record)}: {headers.type!r} cannot be read: a default raised {type(error).__name__}: mend its factory"
            ) from error

    def _unreadable(self, record: Record, headers: EventHeaders) -> DecodeError:
        if record.value is None:
            return DecodeError(
                f"{_where(record)}: an event without a value: only the framework may write to an events topic"
            )
        return DecodeError(
            f"{_where(record)}: aggregate {self.aggregate!r} has no event named {headers.type!r}: "
            "keep the class, or give its successor the old name in aliases"
        )


def event_headers_of(record: Record) -> EventHeaders:
    """The headers of an event record. Raises `HeaderError` naming where the record stands."""
    try:
        return read_event_headers(record.headers)
    except HeaderError as error:
        raise HeaderError(f"{_where(record)}: {error}") from error


def _where(record: Record) -> str:
    return f"{record.topic}[{record.partition}]@{record.offset}"


def aggregate_id_of(record: Record) -> str:
    """The id of the aggregate that an event is of. Raises `DecodeError` naming where the record stands."""
    try:
        return record.key.decode()
    except UnicodeDecodeError:
        raise DecodeError(
            f"{_where(record)}: the key {shortened(record.key)} is not UTF-8: only the framework may write to an events topic"
        ) from None


def version_of(record: Record) -> int:
    """The version of an event that is not decoded. Raises `HeaderError` naming where the record stands."""
    for name, value in record.headers:
        if name == "ce_sequence" and value is not None:
            if not value.isdigit() or len(value) > _MAX_DIGITS:
                raise HeaderError(
                    f"{_where(record)}: ce_sequence {shortened(value)} is no version: see docs/wire.md; only the framework may write to "
                    "an events topic"
                )
            return int(value)
    raise HeaderError(
        f"{_where(record)}: an event without ce_sequence: see docs/wire.md; only the framework may write to an events topic"
    )


class SequenceCheck:
    """Finds gaps and repeats in the versions of each aggregate of one partition.

    With `complete`, reading began at the start of the partition and every aggregate begins at version 1; without it, the
    first version met of an aggregate is believed.
    """

    def __init__(self, *, complete: bool) -> None:
        self._complete = complete
        self._versions: dict[str, int] = {}

    def check(self, recorded: Recorded) -> None:
        """Raises `ForkDetected` if the event does not follow the one before it."""
        self.check_version(recorded.aggregate, recorded.id, recorded.version, recorded.partition, recorded.offset)

    def check_version(self, aggregate: str, aggregate_id: str, version: int, partition: int, offset: int) -> None:
        """The same for an event that was not decoded."""
        last = self._versions.get(aggregate_id, 0 if self._complete else None)
        if last is not None and version != last + 1:
            raise ForkDetected(
                f"{aggregate} {aggregate_id!r}: version {version} follows version {last} at "
                f"partition {partition}, offset {offset}: the log has a {'gap' if version > last else 'repeat'}; "
                f"stop writing to it and inspect it with `eventsource events show {aggregate} {aggregate_id}`"
            )
        self._versions[aggregate_id] = version
