"""Reading events for people: following topics, and the history of one aggregate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from eventsource.app import App
from eventsource.clock import SystemClock
from eventsource.commands.arguments import key_of_any
from eventsource.commands.history import AggregateHistory
from eventsource.commands.history_reader import read_history
from eventsource.commands.loaded import Loaded
from eventsource.errors import (
    EventSourceError,
    ForkDetected,
    HeaderError,
    NotFound,
    SchemaError,
    TopicMissing,
)
from eventsource.log.admin import LogAdmin, TopicAndPartition
from eventsource.log.events import EventDecoder, SequenceCheck, version_of
from eventsource.log.partitioner import partition_for
from eventsource.log.reader import LogReader
from eventsource.log.record import Record
from eventsource.log.recorded import Recorded
from eventsource.schemas import KafkaSchemaStore
from eventsource.settings import Settings

_BATCH: Final = 1_000
_WAIT_SECONDS: Final = 0.5


class UnreadableEvent:
    """A record in an aggregate's history that today's code cannot read, and why."""

    def __init__(self, record: Record, reason: EventSourceError) -> None:
        self.record = record
        self.reason = reason

    @property
    def version(self) -> int | None:
        """The version that it says it is of; None where it does not say."""
        try:
            return version_of(self.record)
        except HeaderError:
            return None

    @property
    def partition(self) -> int:
        return self.record.partition

    @property
    def offset(self) -> int:
        return self.record.offset

    def header(self, name: str) -> str:
        """A header as text; what is no text is shown as escapes."""
        values = [value for key, value in self.record.headers or () if key == name and value is not None]
        return values[0].decode(errors="backslashreplace") if values else ""


def follow(
    app: App,
    settings: Settings,
    aggregates: Sequence[str],
    *,
    from_beginning: bool,
    follow: bool,
    on_wait: Callable[[], None] = lambda: None,
) -> Iterator[tuple[Record, Recorded | EventSourceError]]:
    """The committed events of some aggregates: each record with its event, or with the reason why it cannot be read.

    Without `follow` it ends where the log ended when it began. `on_wait` is called twice a second while nothing is recorded; what
    it raises ends the reading. Raises `BrokerUnavailable` and `TopicMissing`.
    """
    names = app.names(settings.namespace)
    topics = {names.events(name): app.aggregates[name] for name in aggregates}
    with _admin(settings) as admin:
        partitions = _partitions(admin, list(topics))
        # Up to the first open transaction: what stands behind it cannot be read yet, nor waited for.
        ends = admin.end_offsets(partitions, committed_only=True)
        starts = admin.first_offsets(partitions) if from_beginning else ends
    with _schemas(app, settings) as schemas, LogReader(settings.kafka.client_config()) as reader:
        decoders = {topic: EventDecoder(aggregate, schemas) for topic, aggregate in topics.items()}
        reader.assign(starts)
        while follow or _behind(reader, ends):
            on_wait()
            for record in reader.read(_BATCH, _WAIT_SECONDS):
                if follow or record.offset < ends[record.topic, record.partition]:
                    yield record, _decoded(decoders[record.topic], record)


def history(
    app: App, settings: Settings, aggregate: str, aggregate_id: str
) -> tuple[list[Recorded | UnreadableEvent], ForkDetected | None]:
    """All committed records of one aggregate, in the order of the log, and the first gap or repeat among their versions.

    Reads its partition from the start. A record that cannot be read is given as it is. Raises `NotFound` when it has no record,
    `TopicMissing` and `BrokerUnavailable`.
    """
    topic = app.names(settings.namespace).events(aggregate)
    key = key_of_any(aggregate_id)
    with _admin(settings) as admin:
        partitions = _partitions(admin, [topic])
        place = (topic, partition_for(key, len(partitions)))
        start, end = admin.first_offsets([place])[place], admin.end_offsets([place], committed_only=True)[place]
    check = SequenceCheck(complete=True)
    events: list[Recorded | UnreadableEvent] = []
    problem: ForkDetected | None = None
    with _schemas(app, settings) as schemas, LogReader(settings.kafka.client_config()) as reader:
        decoder = EventDecoder(app.aggregates[aggregate], schemas)
        reader.assign({place: start})
        for records in reader.read_to({place: end}, patience_seconds=settings.kafka.request_timeout_seconds):
            for record in records:
                if record.key == key:
                    found = _decoded(decoder, record)
                    event = UnreadableEvent(record, found) if isinstance(found, EventSourceError) else found
                    events.append(event)
                    problem = problem if problem is not None else _problem(check, aggregate, aggregate_id, event)
    if not events:
        raise NotFound(aggregate, aggregate_id)
    return events, problem


def state_at(
    app: App,
    settings: Settings,
    aggregate: str,
    aggregate_id: str,
    *,
    at_version: int | None,
    at_time: datetime | None,
    timeout_seconds: float,
) -> tuple[Loaded[Any], datetime]:
    """An aggregate as it is, or was at a version or time, and the time of its newest event; made from the log.

    Raises what `Client.load` raises with `at_version` or `at_time`.
    """
    topic = app.names(settings.namespace).events(aggregate)
    key = key_of_any(aggregate_id)
    with _admin(settings) as admin, _schemas(app, settings) as schemas:
        partitions = _partitions(admin, [topic])
        decoder = EventDecoder(app.aggregates[aggregate], schemas)
        history = AggregateHistory(
            app.aggregates[aggregate], aggregate_id, decoder, at_version=at_version, at_time=at_time
        )
        read_history(
            history,
            key,
            (topic, partition_for(key, len(partitions))),
            settings.kafka.client_config(),
            admin=admin,
            timeout_seconds=timeout_seconds,
            clock=SystemClock(),
        )
        return history.loaded(admin.topic_ids([topic])[topic]), history.time


def _behind(reader: LogReader, ends: dict[TopicAndPartition, int]) -> bool:
    return any(reader.position(*place) < end for place, end in ends.items())


def _partitions(admin: LogAdmin, topics: list[str]) -> list[TopicAndPartition]:
    counts = admin.partition_counts(topics)
    missing = [topic for topic in topics if topic not in counts]
    if missing:
        raise TopicMissing(
            f"topics are missing: {', '.join(missing)}: make them with `eventsource topics apply MODULE:APP`"
        )
    return [(topic, number) for topic, count in counts.items() for number in range(count)]


def _decoded(decoder: EventDecoder, record: Record) -> Recorded | EventSourceError:
    try:
        return decoder.decode(record)
    except (HeaderError, SchemaError) as error:
        return error


def _problem(
    check: SequenceCheck, aggregate: str, aggregate_id: str, event: Recorded | UnreadableEvent
) -> ForkDetected | None:
    if event.version is None:
        return None
    try:
        check.check_version(aggregate, aggregate_id, event.version, event.partition, event.offset)
    except ForkDetected as error:
        return error
    return None


def _schemas(app: App, settings: Settings) -> KafkaSchemaStore:
    return KafkaSchemaStore(app.names(settings.namespace).schemas, settings.kafka.client_config())


def _admin(settings: Settings) -> LogAdmin:
    return LogAdmin(settings.kafka.client_config(), request_timeout_seconds=settings.kafka.request_timeout_seconds)
