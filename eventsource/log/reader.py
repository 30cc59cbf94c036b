"""Reading the log by explicit assignment: committed records only, one thread, and no offset reset ever."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import structlog
from confluent_kafka import KafkaError, KafkaException

from eventsource.errors import BrokerUnavailable
from eventsource.log.admin import TopicAndPartition
from eventsource.log.client_config import consumer_config
from eventsource.log.fetch_error import FetchError
from eventsource.log.kafka_errors import LOST, UNREACHABLE, UNREADABLE, offset_lost, translate
from eventsource.log.record import Record
from eventsource.log.record_consumer import Place, record_consumer
from eventsource.log.unreadable_batch import BatchUnreadable, base_of, offset_behind

_log = structlog.get_logger("eventsource.reader")

# librdkafka wants a group id even of a consumer that joins no group and commits nothing.
_NO_GROUP: Final = "eventsource-reader"
_METADATA_SECONDS: Final = 2.0
_READ_TO_RECORDS: Final = 5_000
_READ_TO_SECONDS: Final = 0.1
_UNREADABLE_TRIES: Final = 3
_UNREADABLE_SECONDS: Final = 2.0

EndsOf = Callable[[Iterable[TopicAndPartition]], Mapping[TopicAndPartition, int]]
"""One past the last record of each of some partitions."""


@dataclass(slots=True)
class _FailingBatch:
    place: TopicAndPartition
    base: int
    since: float
    tries: int = 0


class LogReader:
    """A read_committed consumer of the partitions that it is told, from the offsets that it is told.

    Belongs to the thread that made it. It joins no group and commits nothing. `committed_only=False` is for topics that hold
    no transactions, such as replies: there, other writers' open transactions must not hold a reader back.

    `ends_of` is for topics that anybody may write to, and that hold no facts: commands, replies, schemas, the meta topic. With it, the
    reader passes over a batch that cannot be read, with an error in the log, once it has failed three times and for two seconds. It
    gives the end of each of some partitions. Without it, `read` raises `BatchUnreadable`: no fact is passed over.
    """

    _failing: _FailingBatch | None = None

    def __init__(
        self, client_config: Mapping[str, Any], *, committed_only: bool = True, ends_of: EndsOf | None = None
    ) -> None:
        self._ends_of = ends_of
        self.passed_over: list[BatchUnreadable] = []
        """What was passed over, in order."""
        self._bootstrap = str(client_config.get("bootstrap.servers", ""))
        self._config = consumer_config(client_config, _NO_GROUP)
        if not committed_only:
            self._config["isolation.level"] = "read_uncommitted"
        self._topics_seen: set[str] = set()
        self._connect()

    def _connect(self) -> None:
        self._consumer = record_consumer(self._config)
        self._known_topics: set[str] = set()
        self._assigned: dict[TopicAndPartition, int] = {}
        self._used: set[TopicAndPartition] = set()

    def assign(self, offsets: Mapping[TopicAndPartition, int]) -> None:
        """Reads these partitions from these offsets, and no others."""
        if not self._used.isdisjoint(offsets):
            # Of a partition that is assigned again, librdkafka goes on telling the position of before for a while: whoever asks
            # whether the end is reached would hear that it is, with everything unread. So a consumer gets each partition once.
            self._consumer.close()
            self._connect()
        self._learn({topic for topic, _ in offsets})
        self._consumer.assign(_places(offsets))
        self._assigned = dict(offsets)
        self._used.update(offsets)

    def add(self, offsets: Mapping[TopicAndPartition, int]) -> None:
        """Reads these partitions too."""
        if not self._used.isdisjoint(offsets):
            self.assign({**{where: self.position(*where) for where in self._assigned}, **offsets})
        elif offsets:
            self._learn({topic for topic, _ in offsets})
            self._consumer.incremental_assign(_places(offsets))
            self._assigned.update(offsets)
            self._used.update(offsets)

    def remove(self, partitions: Iterable[TopicAndPartition]) -> None:
        """Stops reading these partitions."""
        removed = list(partitions)
        if removed:
            self._consumer.incremental_unassign(_places(dict.fromkeys(removed, 0)))
            for where in removed:
                self._assigned.pop(where, None)

    @property
    def is_held_up(self) -> bool:
        """Whether the reader tries a batch that could not be read, which it passes over soon."""
        return self._failing is not None

    def read(self, max_records: int, timeout_seconds: float) -> list[Record]:
        """What is there, at most `max_records`, at once; waits for the first record up to the time-out.

        Raises `OffsetLost` when the log no longer holds an offset, `BrokerUnavailable` and other `LogError`s. A broker that is
        away for a moment is not an error here: librdkafka goes on trying, and nothing is read meanwhile.
        """
        try:
            records = self._read(max_records, timeout_seconds)
        except BatchUnreadable as error:
            if self._ends_of is None:
                raise
            self._note_failing(error, self._ends_of, timeout_seconds)
            return []
        if records:
            self._failing = None
        return records

    def _read(self, max_records: int, timeout_seconds: float) -> list[Record]:
        try:
            records, errors = self._consumer.read(max_records, timeout_seconds)
        except KafkaException as error:
            raise translate(error.args[0], "reading the log", self._bootstrap) from error
        for failed in errors:
            if not records or failed.error.code() not in UNREADABLE:  # that one comes again; what was read does not
                self._pass_or_raise(failed)
        return records

    def _note_failing(self, error: BatchUnreadable, ends_of: EndsOf, timeout_seconds: float) -> None:
        now = time.monotonic()
        failing = self._failing
        if failing is None or (failing.place, failing.base) != (error.place, error.base):
            failing = self._failing = _FailingBatch(error.place, error.base, now)
        failing.tries += 1
        if failing.tries < _UNREADABLE_TRIES or now - failing.since < _UNREADABLE_SECONDS:
            time.sleep(min(timeout_seconds, _READ_TO_SECONDS))  # librdkafka tells of the batch again at once
            return
        self._failing = None
        self._pass_over(error, ends_of)

    def _pass_over(self, error: BatchUnreadable, ends_of: EndsOf) -> None:
        place, base = error.place, error.base
        positions = {where: self.position(*where) for where in self._assigned}
        end = ends_of([place])[place]
        try:
            positions[place] = offset_behind(base, end, lambda offset: self._is_inside(place, base, offset))
        finally:
            self.assign(positions)
        self.passed_over.append(error)
        _log.error(
            "unreadable_batch_skipped",
            topic=place[0],
            partition=place[1],
            first=base,
            behind=positions[place],
            reason=str(error),
        )

    def _is_inside(self, place: TopicAndPartition, base: int, offset: int) -> bool:
        """Whether an offset is in the unreadable batch that begins at `base`. Reads from there, and from nowhere else, then."""
        self.assign({place: offset})
        deadline = time.monotonic() + _METADATA_SECONDS
        while time.monotonic() < deadline and self.position(*place) <= offset:
            try:
                if self._read(1, _READ_TO_SECONDS):
                    return False
            except BatchUnreadable as error:
                return error.base == base
        return False

    def read_to(
        self,
        ends: Mapping[TopicAndPartition, int],
        *,
        patience_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Iterator[list[Record]]:
        """What there is up to these offsets of the partitions that were assigned, each below its end; nothing beyond.

        It ends early where `stopped` says so, which is asked ten times a second at least.

        Raises `BrokerUnavailable` when nothing has moved for `patience_seconds`, and what `read` raises.
        """
        position, moved_at = -1, monotonic()
        while behind := [where for where, end in ends.items() if self.position(*where) < end]:
            if stopped():
                return
            # In slices: a read goes on waiting for a record where only a transaction's marker was left to pass.
            records = self.read(_READ_TO_RECORDS, _READ_TO_SECONDS)
            now = monotonic()
            reached = sum(self.position(*where) for where in ends)
            if reached != position or self.is_held_up:
                position, moved_at = reached, now
            elif now - moved_at > patience_seconds:
                topic, number = behind[0]
                raise BrokerUnavailable(
                    f"{topic}[{number}] could not be read to its end {ends[topic, number]}: the reader stands at "
                    f"{self.position(topic, number)}; check the broker's log, and for a hanging transaction with `eventsource doctor`"
                )
            wanted = [record for record in records if record.offset < ends[record.topic, record.partition]]
            if wanted:
                yield wanted

    def position(self, topic: str, partition: int) -> int:
        """The next offset to be read, past transaction markers: tells that a reader has caught up; never to be stored.

        Before anything was read, it is the one that the partition was assigned at.
        """
        offset = self._consumer.position(topic, partition)
        return offset if offset >= 0 else self._assigned.get((topic, partition), offset)

    def close(self) -> None:
        """Closes the consumer."""
        self._consumer.close()

    def _learn(self, topics: set[str]) -> None:
        # A topic that a running consumer has not heard of yet is looked up by librdkafka's scan, once a second: a take-over,
        # which reads events, outcomes and commands in turn, would wait for three.
        for topic in topics - self._known_topics:
            problem = self._consumer.look_up(topic, _METADATA_SECONDS)
            if problem is None:
                self._known_topics.add(topic)
                self._topics_seen.add(topic)
            else:
                _log.info(
                    "metadata_missing", topic=topic, error=problem.name(), about="kafka"
                )  # librdkafka goes on asking

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _pass_or_raise(self, failed: FetchError) -> None:
        """Raises what an error means, unless it passes by itself."""
        topic, partition, error = failed
        where = f"reading {topic}[{partition}]"
        if error.code() in UNREADABLE:
            base = base_of(error, self.position(topic, partition))
            raise BatchUnreadable((topic, partition), base, error.name())
        if error.code() in LOST:
            raise offset_lost(error, where)
        if error.fatal() or not (
            error.retriable() or error.code() in UNREACHABLE or error.code() == KafkaError._PARTITION_EOF
        ):
            raise translate(error, where, self._bootstrap, topic_seen=topic in self._topics_seen)


def _places(offsets: Mapping[TopicAndPartition, int]) -> list[Place]:
    return [(topic, number, offset) for (topic, number), offset in offsets.items()]
