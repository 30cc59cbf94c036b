"""The records that a command leaves: its events, or its outcome."""

from __future__ import annotations

from typing import Any

from eventsource.commands.request import Request
from eventsource.commands.status import OUTCOME_NAME, Outcome
from eventsource.domain import Event
from eventsource.domain.definition import AggregateDefinition
from eventsource.errors import DecodeError, MessageTooLarge
from eventsource.log.headers import FactWriter, Origin, Trail, event_es, outcome_es
from eventsource.log.record import Outgoing
from eventsource.names import Names
from eventsource.schemas import MessageCodec, SchemaStore


class FactRecords:
    """Makes the records of one partition's events and outcomes."""

    def __init__(
        self,
        definition: AggregateDefinition[Any],
        partition: int,
        names: Names,
        commands_topic_id: bytes,
        schemas: SchemaStore,
        max_event_bytes: int,
    ) -> None:
        self.source = f"/{names.prefix}/{definition.name}"
        self._name = definition.name
        self._partition = partition
        self._topic_id = commands_topic_id
        self._max_bytes = max_event_bytes
        self._events_topic = names.events(definition.name)
        self._outcomes_topic = names.outcomes(definition.name)
        self._writer = FactWriter(self.source)
        classes = set(definition.events.values())
        self._by_class: dict[type[Event], MessageCodec[Any]] = {
            event: MessageCodec(event, event.message_name, schemas) for event in classes
        }
        self._by_name = {name: self._by_class[event] for name, event in definition.events.items()}
        self._outcomes = MessageCodec(Outcome, OUTCOME_NAME, schemas)

    def register_schemas(self) -> None:
        """Registers all that may be written, before the first transaction."""
        for codec in self._by_class.values():
            codec.register()
        self._outcomes.register()

    def events(self, request: Request, events: tuple[Event, ...], version: int) -> tuple[list[Outgoing], str]:
        """The records of a command's events on an aggregate at `version`, and the last one's `ce_id`.

        Raises `EncodeError`, and `MessageTooLarge` where one is too large to be written.
        """
        record, headers = request.record, request.headers
        command_id = headers.command_id
        origin = Origin(self._topic_id, record.partition, record.offset)
        es = event_es(origin, record.timestamp_ms, request.body_hash, _passed_on(headers.trail))
        count = len(events)
        write, encoders, topic, key = self._writer.event, self._by_class, self._events_topic, record.key
        records = []
        for index, event in enumerate(events, 1):
            value = encoders[event.__class__].encode(event)
            written = write(
                es,
                command_id,
                index,
                count,
                event.message_name,
                event.message_revision,
                version + index,
                headers.traceparent,
            )
            outgoing = Outgoing(topic, self._partition, key, value, written)
            # What is far from the limit need not be counted to the byte.
            if (len(value) + len(key) + len(es)) * 2 > self._max_bytes:
                self._check_size(event, outgoing)
            records.append(outgoing)
        return records, f"{command_id}/{count}.{count}"

    def _check_size(self, event: Event, outgoing: Outgoing) -> None:
        size_bytes = outgoing.size_bytes
        if size_bytes > self._max_bytes:
            raise MessageTooLarge(
                f"event {event.message_name!r} takes {size_bytes} bytes, {self._max_bytes} are allowed: store what is large "
                "elsewhere and keep a reference in the event"
            )

    def outcome(self, request: Request, outcome: Outcome, trail: Trail) -> Outgoing:
        """The record of a command's outcome."""
        record, headers = request.record, request.headers
        origin = Origin(self._topic_id, record.partition, record.offset)
        es = outcome_es(origin, record.timestamp_ms, request.body_hash, _passed_on(trail))
        return Outgoing(
            self._outcomes_topic,
            self._partition,
            record.key,
            self._outcomes.encode(outcome),
            self._writer.outcome(es, headers.command_id, headers.type, outcome.version, headers.traceparent),
        )

    def read_event(self, type_: str, value: bytes) -> Event:
        """An event that came in an append. Raises `DecodeError` if it is none of the aggregate's."""
        codec = self._by_name.get(type_.partition(".v")[0])
        if codec is None:
            raise DecodeError(
                f"{self._name} has no event {type_!r}: deploy the workers before the clients that append a new event"
            )
        event: Event = codec.decode(value)
        return event


def _passed_on(trail: Trail) -> Trail:
    # What caused an event is its command, whose id the event carries: only the rest is passed on.
    if not trail.causation_id:
        return trail
    return Trail(trail.correlation_id, "", trail.actor, trail.metadata)
