"""Collecting what the topics hold: committed records for the checker, and the aborted ones that nobody may ever see."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from eventsource.app import App
from eventsource.commands.reply import Reply
from eventsource.commands.status import OUTCOME_NAME, Outcome, Status
from eventsource.domain import Aggregate, Command
from eventsource.errors import DecodeError, HeaderError
from eventsource.log.admin import LogAdmin, TopicAndPartition
from eventsource.log.committed import committed_offsets
from eventsource.log.events import EventDecoder
from eventsource.log.header_reading import read_command_headers, read_event_headers, read_outcome_headers
from eventsource.log.reader import LogReader
from eventsource.log.record import Record
from eventsource.log.topics import REPLY_PARTITIONS
from eventsource.schemas import KafkaSchemaStore, MessageCodec
from eventsource.settings import Settings
from tests.faults.checker import Evidence, LoggedCommand, LoggedEvent, LoggedOutcome

_READ_RECORDS: Final = 5_000
_READ_SECONDS: Final = 0.1


class EvidenceReader:
    """Reads all topics of one aggregate of an app."""

    def __init__(self, app: App, aggregate: type[Aggregate[Any]], settings: Settings) -> None:
        self._settings = settings
        self._config = settings.kafka.client_config()
        self._aggregate = aggregate
        self._partitions = app.partitions_of(aggregate)
        names = app.names(settings.namespace)
        name = aggregate.__definition__.name
        self._group = names.owners(name)
        self._commands, self._events, self._outcomes = names.commands(name), names.events(name), names.outcomes(name)
        self._replies = names.replies
        self._schemas_topic = names.schemas
        self._admin = LogAdmin(self._config)

    def committed(self) -> dict[int, int | None]:
        """The group's committed offset of each partition."""
        found = committed_offsets(
            self._config,
            self._group,
            self._places(self._commands),
            timeout_seconds=self._settings.kafka.request_timeout_seconds,
        )
        return {partition: offset for (_, partition), offset in found.items()}

    def ends(self) -> dict[int, int]:
        """The end of each commands partition."""
        return {partition: end for (_, partition), end in self._admin.end_offsets(self._places(self._commands)).items()}

    def fact_ends(self) -> dict[TopicAndPartition, int]:
        """The ends of events and outcomes, open transactions included: they move with whatever is executed."""
        return self._admin.end_offsets(self._places(self._events, self._outcomes))

    def open_transactions(self) -> list[TopicAndPartition]:
        """The partitions of events and outcomes whose last stable offset lies below their end."""
        places = self._places(self._events, self._outcomes)
        stable, ends = self._admin.end_offsets(places, committed_only=True), self._admin.end_offsets(places)
        return [place for place in places if stable[place] < ends[place]]

    def read(self) -> Evidence:
        """All there is now."""
        facts = self._places(self._events, self._outcomes)
        committed_facts = self._read(facts)
        seen = {(record.topic, record.partition, record.offset) for record in committed_facts}
        schemas = KafkaSchemaStore(self._schemas_topic, self._config)
        try:
            decoder, outcomes = EventDecoder(self._aggregate, schemas), MessageCodec(Outcome, OUTCOME_NAME, schemas)
            commands = {
                name: MessageCodec(command, command.message_name, schemas)
                for name, command in self._aggregate.__definition__.commands.items()
            }
            return Evidence(
                partitions=self._partitions,
                commands=[_command(record, commands) for record in self._read(self._places(self._commands))],
                events=[_event(record, decoder) for record in committed_facts if record.topic == self._events],
                outcomes=[_outcome(record, outcomes) for record in committed_facts if record.topic == self._outcomes],
                replies=[
                    reply
                    for record in self._read([(self._replies, number) for number in range(REPLY_PARTITIONS)])
                    for reply in Reply.decode_all(record.value or b"")
                ],
                committed=self.committed(),
                ends=self.ends(),
                open=self.open_transactions(),
                aborted=frozenset(
                    (record.partition, record.offset)
                    for record in self._read(self._places(self._events), committed_only=False)
                    if (record.topic, record.partition, record.offset) not in seen
                ),
            )
        finally:
            schemas.close()

    def _places(self, *topics: str) -> list[TopicAndPartition]:
        return [(topic, partition) for topic in topics for partition in range(self._partitions)]

    def _read(self, places: Iterable[TopicAndPartition], *, committed_only: bool = True) -> list[Record]:
        """The records of these partitions, each partition's in order, up to where its reader can come just now."""
        wanted = list(places)
        ends = self._admin.end_offsets(wanted, committed_only=committed_only)
        firsts = self._admin.first_offsets(wanted)
        left = {place: end for place, end in ends.items() if firsts[place] < end}
        found: dict[TopicAndPartition, list[Record]] = {place: [] for place in wanted}
        if left:
            with LogReader(self._config, committed_only=committed_only) as reader:
                reader.assign({place: firsts[place] for place in left})
                while left:
                    for record in reader.read(_READ_RECORDS, _READ_SECONDS):
                        found[record.topic, record.partition].append(record)
                    left = {place: end for place, end in left.items() if reader.position(*place) < end}
        return [record for place in wanted for record in found[place]]


def _command(record: Record, codecs: dict[str, MessageCodec[Command]]) -> LoggedCommand:
    place = (record.partition, record.offset)
    aggregate_id = record.key.decode(errors="replace")
    try:
        headers = read_command_headers(record.headers)
        command = codecs[headers.type].decode(record.value or b"")
    except (HeaderError, DecodeError, KeyError):
        return LoggedCommand(place, aggregate_id, f"unreadable/{record.partition}/{record.offset}", None)
    return LoggedCommand(place, aggregate_id, headers.command_id, command)


def _event(record: Record, decoder: EventDecoder) -> LoggedEvent:
    headers, recorded = read_event_headers(record.headers), decoder.decode(record)
    return LoggedEvent(
        (record.partition, record.offset),
        record.key.decode(),
        headers.version,
        headers.command_id,
        headers.index,
        headers.count,
        (headers.origin.partition, headers.origin.offset),
        recorded.event,
    )


def _outcome(record: Record, codec: MessageCodec[Outcome]) -> LoggedOutcome:
    headers = read_outcome_headers(record.headers)
    return LoggedOutcome(
        (record.partition, record.offset),
        record.key.decode(errors="replace"),
        headers.command_id,
        (headers.origin.partition, headers.origin.offset),
        Status(codec.decode(record.value or b"").status),
    )
