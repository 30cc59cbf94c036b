"""Questions about the log, asked of the brokers: end offsets, topic ids, partition counts, committed offsets."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from copy import copy
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from confluent_kafka import (
    OFFSET_END,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import ConfigResource, NewTopic, OffsetSpec, ResourceType

from eventsource.errors import BrokerUnavailable, LogError, TopicMissing
from eventsource.log.client_config import base_config
from eventsource.log.connection_errors import ConnectionErrors
from eventsource.log.kafka_clients import KafkaAdmin
from eventsource.log.kafka_errors import MISSING, access_denied, broker_unavailable, translate

TopicAndPartition = tuple[str, int]


@dataclass(frozen=True, slots=True)
class TopicDescription:
    """A topic as the brokers describe it. `replicas` has the number of replicas of each partition, in their order."""

    topic_id: bytes
    replicas: tuple[int, ...]


_METADATA_TRY_SECONDS: Final = 0.25
_LOOK_SECONDS: Final = 0.1
_EARLIEST: Final = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST: Final = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_ENDS: Final = (_EARLIEST, _LATEST)


class LogAdmin:
    """The admin side of one Kafka cluster. Safe to share between threads. Its owner closes it, or uses it with `with`.

    What is asked after `close` raises `LogError`; what is under way then ends by itself.
    """

    def __init__(self, client_config: Mapping[str, Any], *, request_timeout_seconds: float = 10.0) -> None:
        self._timeout = request_timeout_seconds
        self._bootstrap = str(client_config.get("bootstrap.servers", ""))
        self._connection_errors = ConnectionErrors()
        config: dict[str, Any] = {
            "socket.connection.setup.timeout.ms": max(1_000, int(request_timeout_seconds * 1_000)),
            **base_config(client_config),
            "error_cb": self._connection_errors,
        }
        self._open: KafkaAdmin | None = KafkaAdmin(config)

    @property
    def _client(self) -> Any:
        client = self._open
        if client is None:
            raise LogError("this admin client is closed: make another")
        return client

    def close(self) -> None:
        """Closes the connections. Again is a no-op."""
        # The binding has no close: the handle is destroyed with the last reference to it.
        self._open = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def within(self, seconds: float) -> LogAdmin:
        """The same connections, with another time-out. It is closed with neither; the owner closes the one that was made."""
        view = copy(self)
        view._timeout = seconds
        return view

    def broker_count(self) -> int:
        """How many brokers the cluster has. Raises `BrokerUnavailable`."""
        return len(self.broker_ids())

    def broker_ids(self) -> list[int]:
        """The ids of the cluster's brokers that are there now. Raises `BrokerUnavailable`."""
        return sorted(self._metadata().brokers)

    def topic_names(self) -> set[str]:
        """All topics that the principal may see."""
        return set(self._metadata().topics)

    def leader(self, where: TopicAndPartition) -> tuple[str, int]:
        """Host and port of the broker that leads a partition. Raises `BrokerUnavailable` where there is none now."""
        metadata = self._metadata()
        topic = metadata.topics.get(where[0])
        partition = topic.partitions.get(where[1]) if topic is not None else None
        broker = metadata.brokers.get(partition.leader) if partition is not None else None
        if broker is None:
            raise BrokerUnavailable(f"no broker leads {where[0]}[{where[1]}] now: try again, and look at the brokers")
        return broker.host, broker.port

    def partitions(self) -> list[TopicAndPartition]:
        """Every partition of every topic that the principal may see."""
        return [(name, number) for name, topic in self._metadata().topics.items() for number in topic.partitions]

    def _metadata(self) -> Any:
        deadline = time.monotonic() + self._timeout
        self._connection_errors.clear()  # an outage that was reported before says nothing of now
        while True:
            left_seconds = max(0.1, deadline - time.monotonic())
            try:
                found = self._client.list_topics(timeout=min(_METADATA_TRY_SECONDS, left_seconds))
            except KafkaException as error:
                # Connections that fail at every broker need no patience: librdkafka reports that to its error callback.
                self._client.poll(0)
                if self._connection_errors.all_down or time.monotonic() >= deadline:
                    raise self._translate(error, "asking for metadata") from error
            else:
                self._connection_errors.answered()
                return found

    def _translate(self, error: KafkaException, doing: str) -> LogError:
        failed, connection = error.args[0], self._connection_errors
        if connection.denied and connection.all_down:
            return access_denied(doing, connection.reason)
        return translate(failed, doing, self._bootstrap, reason=connection.reason)

    def topic_ids(self, topics: Iterable[str]) -> dict[str, bytes]:
        """The 16-byte topic id of each topic that exists."""
        return {name: _uuid_bytes(description.topic_id) for name, description in self._describe(topics).items()}

    def partition_counts(self, topics: Iterable[str]) -> dict[str, int]:
        """The number of partitions of each topic that exists."""
        return {name: len(description.partitions) for name, description in self._describe(topics).items()}

    def descriptions(self, topics: Iterable[str]) -> dict[str, TopicDescription]:
        """Topic id and replicas of each topic that exists."""
        return {
            name: TopicDescription(
                _uuid_bytes(found.topic_id),
                tuple(len(each.replicas) for each in sorted(found.partitions, key=lambda each: int(each.id))),
            )
            for name, found in self._describe(topics).items()
        }

    def _describe(self, topics: Iterable[str]) -> dict[str, Any]:
        names = list(topics)
        if not names:
            return {}
        found = {}
        futures = self._client.describe_topics(TopicCollection(names), request_timeout=self._timeout)
        for name, future in futures.items():
            try:
                found[name] = self._wait(future, f"describing topic {name}")
            except KafkaException as error:
                if error.args[0].code() not in MISSING:
                    raise self._translate(error, f"describing topic {name}") from error
        return found

    def topic_configs(self, topics: Iterable[str]) -> dict[str, dict[str, str]]:
        """The effective configuration of each topic."""
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in topics]
        if not resources:
            return {}
        answers = self._client.describe_configs(resources, request_timeout=self._timeout)
        return {
            resource.name: {
                name: entry.value for name, entry in self._result(future, f"describing topic {resource.name}").items()
            }
            for resource, future in answers.items()
        }

    def broker_config(self, broker_id: int) -> dict[str, str]:
        """The effective configuration of one broker, asked of that broker."""
        resource = ConfigResource(ResourceType.BROKER, str(broker_id))
        answers = self._client.describe_configs([resource], request_timeout=self._timeout)
        entries = self._result(answers[resource], f"asking broker {broker_id} for its configuration")
        return {name: entry.value for name, entry in entries.items()}

    def create_topics(self, topics: Sequence[NewTopic]) -> None:
        """Makes topics, if they are not there, and waits until the brokers describe every one of them."""
        if not topics:
            return
        for name, future in self._client.create_topics(list(topics), request_timeout=self._timeout).items():
            try:
                self._wait(future, f"making topic {name}")
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise self._translate(error, f"making topic {name}") from error
        self.wait_until_described({topic.topic for topic in topics})

    def wait_until_described(self, names: set[str]) -> dict[str, TopicDescription]:
        """Topics that were made: the controller answers before every broker has heard of them, and any broker may be asked.

        Raises `BrokerUnavailable` when one is not seen in time.
        """
        waited_seconds, pause_seconds = 0.0, 0.02
        while missing := names - set(found := self.descriptions(names)):
            if waited_seconds > self._timeout:
                raise BrokerUnavailable(
                    f"topics were made but cannot be seen after {self._timeout:g} s: {', '.join(sorted(missing))}: try again"
                )
            time.sleep(pause_seconds)
            waited_seconds += pause_seconds
            pause_seconds = min(2 * pause_seconds, 0.5)
        return found

    def first_offsets(self, partitions: Iterable[TopicAndPartition]) -> dict[TopicAndPartition, int]:
        """The lowest offset that each partition still holds."""
        return self._offsets(partitions, _EARLIEST, IsolationLevel.READ_UNCOMMITTED)

    def end_offsets(
        self, partitions: Iterable[TopicAndPartition], *, committed_only: bool = False
    ) -> dict[TopicAndPartition, int]:
        """One past the last record of each partition: of all records, or with `committed_only` up to the first open transaction.

        The difference matters at a take-over: what a read_committed consumer calls its high watermark is the last stable
        offset, and a replay that stops there forks the aggregates whose transactions were still open.
        """
        isolation = IsolationLevel.READ_COMMITTED if committed_only else IsolationLevel.READ_UNCOMMITTED
        return self._offsets(partitions, _LATEST, isolation)

    def offsets_since(
        self, partitions: Iterable[TopicAndPartition], time_ms: int
    ) -> dict[TopicAndPartition, int | None]:
        """The offset of the first record of each partition whose time is not before `time_ms` (since 1970); None: there is none.

        Records of open transactions count.
        """
        spec = OffsetSpec.for_timestamp(time_ms)
        found = self._offsets(partitions, spec, IsolationLevel.READ_UNCOMMITTED)
        return {where: offset if offset >= 0 else None for where, offset in found.items()}

    def _offsets(
        self, partitions: Iterable[TopicAndPartition], spec: OffsetSpec, isolation: IsolationLevel
    ) -> dict[TopicAndPartition, int]:
        request = {TopicPartition(topic, partition): spec for topic, partition in partitions}
        if not request:
            return {}
        deadline, pause_seconds = time.monotonic() + self._timeout, 0.02
        while True:
            futures = self._client.list_offsets(request, isolation_level=isolation, request_timeout=self._timeout)
            try:
                return {
                    (where.topic, where.partition): self._offset(where, future, none_is_an_answer=spec not in _ENDS)
                    for where, future in futures.items()
                }
            except (BrokerUnavailable, TopicMissing) as error:
                # Leaders move, and those of a topic just made are elected after it can be seen.
                if not _is_settling(error) or time.monotonic() > deadline:
                    raise
                # librdkafka asks by the leaders and epochs that it has heard of, and by itself hears of new ones after 15 minutes.
                known = self._metadata().topics
                if isinstance(error, TopicMissing) and not {where.topic for where in request} <= set(known):
                    raise
            time.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, 0.5)

    def _offset(self, where: TopicPartition, future: Any, *, none_is_an_answer: bool) -> int:
        doing = f"asking for the offsets of {where.topic}[{where.partition}]"
        offset = int(self._result(future, doing).offset)
        # A leader that does not answer in time is no error to librdkafka 2.16: the offset is then OFFSET_INVALID. Taken for an
        # end, it would let an owner handle commands without having replayed anything.
        if offset < 0 and not (none_is_an_answer and offset == OFFSET_END):
            raise self._no_answer(doing)
        return offset

    def _result(self, future: Any, doing: str) -> Any:
        try:
            return self._wait(future, doing)
        except KafkaException as error:
            raise self._translate(error, doing) from error

    def _wait(self, future: Any, doing: str) -> Any:
        """What the brokers answer. Raises `KafkaException`; `BrokerUnavailable` or `AccessDenied` where none answers in time.

        Brokers that have answered before may be away for a moment. At first contact, that none can be reached is an error at once.
        """
        # A future that failed, its error and this frame hold each other until the collector runs: the client must not be among them.
        connection = self._connection_errors
        deadline = time.monotonic() + self._timeout + 1
        while True:
            left_seconds = deadline - time.monotonic()
            try:
                found = future.result(max(0.0, min(left_seconds, _LOOK_SECONDS)))
            except FutureTimeout as error:
                self._client.poll(0)  # gives reasons to the error callback
                if left_seconds <= 0 or (connection.all_down and not connection.has_answered):
                    raise self._no_answer(doing) from error
            except KafkaException as error:
                if error.args[0].code() > 0:  # a broker's own, so one has answered
                    connection.answered()
                raise
            else:
                connection.answered()
                return found

    def _no_answer(self, doing: str) -> LogError:
        connection = self._connection_errors
        if connection.denied and connection.all_down:
            return access_denied(doing, connection.reason)
        in_time = "" if connection.all_down else f": none within {self._timeout:g} s"
        return broker_unavailable(f"{doing}{in_time}", self._bootstrap, connection.reason)


def _is_settling(error: LogError) -> bool:
    cause = error.__cause__
    return isinstance(cause, KafkaException) and cause.args[0].code() in (
        KafkaError._NOENT,  # no leaders, which a broker that starts has not got yet; or no topic
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
    )


def _uuid_bytes(topic_id: Any) -> bytes:
    mask = (1 << 64) - 1
    high, low = topic_id.get_most_significant_bits() & mask, topic_id.get_least_significant_bits() & mask
    return bytes((high << 64 | low).to_bytes(16, "big"))
