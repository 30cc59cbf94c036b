"""Reading the log by explicit assignment: committed records only, one thread, and no offset reset ever."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Self

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from eventsource.errors import BrokerUnavailable
from eventsource.log.admin import UNREACHABLE, TopicAndPartition, offset_lost, translate
from eventsource.log.client_config import consumer_config
from eventsource.log.record import Record, record_of

_log = structlog.get_logger("eventsource.reader")

# librdkafka wants a group id even of a consumer that joins no group and commits nothing.
_NO_GROUP: Final = "eventsource-reader"
_METADATA_SECONDS: Final = 2.0
_READ_TO_RECORDS: Final = 5_000
_READ_TO_SECONDS: Final = 0.1
_LOST: Final = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._LOG_TRUNCATION})


class LogReader:
    """A read_committed consumer of the partitions that it is told, from the offsets that it is told.

    Belongs to the thread that made it. It joins no group and commits nothing. `committed_only=False` is for topics that hold
    no transactions, such as replies: there, other writers' open transactions must not hold a reader back.
    """

    def __init__(self, client_config: Mapping[str, Any], *, committed_only: bool = True) -> None:
        self._bootstrap = str(client_config.get("bootstrap.servers", ""))
        config = consumer_config(client_config, _NO_GROUP)
        if not committed_only:
            config["isolation.level"] = "read_uncommitted"
        self._consumer = Consumer(config)
        self._known_topics: set[str] = set()

    def assign(self, offsets: Mapping[TopicAndPartition, int]) -> None:
        """Reads these partitions from these offsets, and no others."""
        self._learn({topic for topic, _ in offsets})
        self._consumer.assign([TopicPartition(topic, number, offset) for (topic, number), offset in offsets.items()])

    def add(self, offsets: Mapping[TopicAndPartition, int]) -> None:
        """Reads these partitions too."""
        if offsets:
            self._learn({topic for topic, _ in offsets})
            self._consumer.incremental_assign(
                [TopicPartition(topic, number, offset) for (topic, number), offset in offsets.items()]
            )

    def remove(self, partitions: Iterable[TopicAndPartition]) -> None:
        """Stops reading these partitions."""
        removed = [TopicPartition(topic, number) for topic, number in partitions]
        if removed:
            self._consumer.incremental_unassign(removed)

    def read(self, max_records: int, timeout_seconds: float) -> list[Record]:
        """What is there, at most `max_records`, at once; waits for the first record up to the time-out.

        Raises `OffsetLost` when the log no longer holds an offset, `BrokerUnavailable` and other `LogError`s. A broker that is
        away for a moment is not an error here: librdkafka goes on trying, and nothing is read meanwhile.
        """
        messages: list[Message] = self._consumer.consume(1, timeout_seconds)
        if messages and max_records > 1:
            messages += self._consumer.consume(max_records - 1, 0)
        if not messages:
            return []
        return [record_of(message) for message in messages if message.error() is None or self._may_pass(message)]

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
            reached = sum(max(0, self.position(*where)) for where in ends)
            if reached != position:
                position, moved_at = reached, now
            elif now - moved_at > patience_seconds:
                topic, number = behind[0]
                raise BrokerUnavailable(
                    f"{topic}[{number}] could not be read to its end {ends[topic, number]}: the reader stands at "
                    f"{self.position(topic, number)}; check the broker's log, and for a hanging transaction with kafka-transactions"
                )
            wanted = [record for record in records if record.offset < ends[record.topic, record.partition]]
            if wanted:
                yield wanted

    def position(self, topic: str, partition: int) -> int:
        """The next offset to be read, past transaction markers: tells that a reader has caught up; never to be stored."""
        (found,) = self._consumer.position([TopicPartition(topic, partition)])
        return int(found.offset)

    def close(self) -> None:
        """Closes the consumer."""
        self._consumer.close()

    def _learn(self, topics: set[str]) -> None:
        # A topic that a running consumer has not heard of yet is looked up by librdkafka's scan, once a second: a take-over,
        # which reads events, outcomes and commands in turn, would wait for three.
        for topic in topics - self._known_topics:
            try:
                problem = self._consumer.list_topics(topic, timeout=_METADATA_SECONDS).topics[topic].error
            except KafkaException as error:
                problem = error.args[0]
            if problem is None:
                self._known_topics.add(topic)
            else:
                _log.info("metadata_missing", topic=topic, error=problem.name())  # librdkafka goes on asking

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _may_pass(self, message: Message) -> bool:
        """Raises what an error means, or returns False where it passes by itself: it is no record in any case."""
        error = message.error()
        if error is None:
            return True
        where = f"reading {message.topic()}[{message.partition()}]"
        if error.code() in _LOST:
            raise offset_lost(error, where)
        if error.fatal() or not (
            error.retriable() or error.code() in UNREACHABLE or error.code() == KafkaError._PARTITION_EOF
        ):
            raise translate(error, where, self._bootstrap, topic_seen=message.topic() in self._known_topics)
        return False
