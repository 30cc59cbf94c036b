"""Replaying a partition as its next owner would, to see what stops there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from eventsource.app import App
from eventsource.commands.aggregate_codecs import AggregateCodecs
from eventsource.commands.memory import PartitionMemory
from eventsource.commands.replaying import PartitionReplay
from eventsource.commands.reply import topic_crc
from eventsource.doctor.answered import read_answered
from eventsource.doctor.facts import Owned, PartitionHistory
from eventsource.errors import EventSourceError, Retriable, TopicMissing, UnknownFingerprint
from eventsource.log.admin import LogAdmin, TopicAndPartition
from eventsource.log.partitioner import partition_for
from eventsource.log.reader import LogReader
from eventsource.log.record import Record
from eventsource.log.topics import REPLY_PARTITIONS
from eventsource.schemas import KafkaSchemaStore
from eventsource.settings import Settings


def replay_partitions(
    app: App, settings: Settings, owned: tuple[Owned, ...], on_history: Callable[[PartitionHistory], None]
) -> tuple[PartitionHistory, ...]:
    """The histories of all partitions of these aggregates, up to the first open transaction of each; told one by one, too.

    One partition at a time is in memory, as large as in its owner. Raises `BrokerUnavailable`, `TopicMissing` and other
    `LogError`s; what is wrong with a record is in the history.
    """
    config = settings.kafka.client_config()
    # Whatever is in the log was registered before: to catch up with the schemas is enough, and nothing is waited for.
    schemas = KafkaSchemaStore(app.names(settings.namespace).schemas, config, wait_seconds=0)
    with (
        schemas,
        LogAdmin(config, request_timeout_seconds=settings.kafka.request_timeout_seconds) as admin,
        LogReader(config) as reader,
    ):
        names = app.names(settings.namespace)
        timeout_seconds = settings.kafka.request_timeout_seconds
        # Before any event: what was answered by then must be there.
        answered = (
            read_answered(names.replies, REPLY_PARTITIONS, admin, config, timeout_seconds)
            if names.replies in admin.topic_names()
            else {}
        )
        histories = []
        for each in owned:
            codecs = AggregateCodecs(app.aggregates[each.aggregate], schemas)
            for number in range(each.partitions):
                sought = answered.get((topic_crc(each.commands), number), {})
                replay = _Replay(app, each, number, admin, reader, codecs, timeout_seconds, sought)
                histories.append(replay.run())
                on_history(histories[-1])
        return tuple(histories)


class _Replay:
    def __init__(
        self,
        app: App,
        owned: Owned,
        partition: int,
        admin: LogAdmin,
        reader: LogReader,
        codecs: AggregateCodecs,
        timeout_seconds: float,
        answered: Mapping[int, str],
    ) -> None:
        self._unseen = dict(answered)
        self._owned = owned
        self._partition = partition
        self._admin = admin
        self._reader = reader
        self._timeout_seconds = timeout_seconds
        aggregate = app.aggregates[owned.aggregate]
        topic_id = admin.topic_ids([owned.commands]).get(owned.commands)
        if topic_id is None:
            raise TopicMissing(f"topic {owned.commands} is missing: make it with `eventsource topics apply MODULE:APP`")
        # Answers are nobody's here: they may be forgotten as soon as the log allows.
        self._memory = PartitionMemory(aggregate.__definition__, window_ms=0)
        self._replay = PartitionReplay(
            aggregate, partition, self._memory, codecs, topic_id, on_foreign=self._note_foreign
        )
        self._foreign: list[tuple[str, str]] = []
        self._misrouted: list[tuple[str, str]] = []
        self._right: dict[bytes, int] = {}
        self._outcomes = 0

    def run(self) -> PartitionHistory:
        self._take_all(self._owned.events, self._event)
        self._take_all(self._owned.outcomes, self._outcome)
        self._replay.finish()
        return PartitionHistory(
            self._owned.aggregate,
            self._partition,
            events=self._replay.events,
            outcomes=self._outcomes,
            last_origin=self._memory.position.last_origin,
            stopped=dict(self._memory.states.stopped),
            foreign=tuple(self._foreign),
            misrouted=tuple(self._misrouted),
            unseen=tuple((command_id, offset) for offset, command_id in sorted(self._unseen.items())),
        )

    def _event(self, record: Record) -> None:
        self._unseen.pop(record.offset, None)
        right = self._right.get(record.key)
        if right is None:  # asked once for each aggregate: the hash costs as much as the rest
            right = self._right[record.key] = partition_for(record.key, self._owned.partitions)
        if right != self._partition and record.key:
            # An owner stops the aggregate here, where none of its commands comes.
            self._misrouted.append(
                (
                    _place(record),
                    f"an event of {self._owned.aggregate} {_shown(record.key)}, which belongs to partition {right}",
                )
            )
        else:
            self._replay.take_events([record])

    def _outcome(self, record: Record) -> None:
        # Its key may belong elsewhere: that is what the command was refused for.
        self._replay.take_outcomes([record])
        self._outcomes += 1

    def _note_foreign(self, record: Record, reason: str) -> None:
        self._foreign.append((_place(record), reason))

    def _take_all(self, topic: str, take: Callable[[Record], None]) -> None:
        for record in self._records((topic, self._partition)):
            try:
                take(record)
            except UnknownFingerprint as error:
                self._foreign.append((_place(record), str(error)))
            except Retriable:
                raise
            except EventSourceError as error:
                self._foreign.append((_place(record), str(error)))

    def _records(self, where: TopicAndPartition) -> Iterator[Record]:
        end = self._admin.end_offsets([where], committed_only=True)[where]
        if where[0] == self._owned.events:
            # Beyond that an open transaction keeps them from being seen, for a moment or as a hanging one, of which a rule tells.
            self._unseen = {offset: command_id for offset, command_id in self._unseen.items() if offset < end}
        start = self._admin.first_offsets([where])[where]
        if start >= end:
            return
        self._reader.assign({where: start})
        for records in self._reader.read_to({where: end}, patience_seconds=self._timeout_seconds):
            yield from records
            self._memory.known.forget_in_memory()


def _place(record: Record) -> str:
    return f"{record.topic}[{record.partition}]@{record.offset}"


def _shown(key: bytes) -> str:
    return repr(key.decode(errors="replace"))
