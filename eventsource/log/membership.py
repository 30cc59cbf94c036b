"""A consumer group's membership: who owns which partitions, and nothing else.

The member fetches no record. It is polled by a thread of its own, so that no replay, no slow handler and no long database
statement can make it miss a poll; and since the reading is done elsewhere, nothing slow ever happens inside a rebalance
callback. (`max.poll.interval.ms` therefore guards the membership thread alone: a stuck handler is the worker's to notice.)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition

from eventsource.errors import LogError
from eventsource.log.admin import TopicAndPartition
from eventsource.log.client_config import consumer_config
from eventsource.log.group_progress import GroupProgress
from eventsource.log.kafka_clients import KafkaConsumer
from eventsource.log.kafka_errors import UNREACHABLE, translate
from eventsource.log.serving import served

_log = structlog.get_logger("eventsource.membership")
_POLL_SECONDS: Final = 0.1
_POLL_INTERVAL_SECONDS: Final = 30.0
_STATISTICS_INTERVAL_MS: Final = 1_000
_SPARE_SECONDS: Final = 2.0
_LOST: Final = "partitions_lost"


@dataclass(frozen=True, slots=True)
class Owned:
    """What a member owns. `epoch` grows with every change of `partitions`.

    `metadata` is the group metadata of the generation in which these partitions were owned: the second fence of a
    transaction. It is None until the member has joined. It must be captured with the batch: fetched after a partition was
    lost, a broker accepts it.
    """

    epoch: int
    partitions: frozenset[TopicAndPartition]
    metadata: Any = None


class Membership:
    """A member of a consumer group, in a thread of its own.

    `on_lost` is called in that thread with partitions that others own already, because this member was silent for too long.
    `on_revoked` is called in that thread before partitions are given up, with those partitions, and may take as long as it
    takes to end a transaction; the next owner waits for it.
    """

    def __init__(
        self,
        client_config: Mapping[str, Any],
        group: str,
        topics: Sequence[str],
        *,
        on_revoked: Callable[[frozenset[TopicAndPartition]], None] | None = None,
        on_lost: Callable[[frozenset[TopicAndPartition]], None] | None = None,
        session_timeout_seconds: float = 6.0,
        revocation_seconds: float = 0.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`revocation_seconds` is how long `on_revoked` may take, in any member of the group."""
        config = consumer_config(client_config, group)
        # Nothing slow runs in this consumer's thread. The interval is also how long librdkafka waits for the answer to a JoinGroup,
        # and its default of 300 s leaves partitions without an owner for so long when that answer is lost.
        session_seconds = float(config.get("session.timeout.ms", session_timeout_seconds * 1_000)) / 1_000
        longest_silence_seconds = max(_POLL_INTERVAL_SECONDS, session_seconds, 2 * revocation_seconds)
        config.setdefault("max.poll.interval.ms", int(longest_silence_seconds * 1_000))
        progress = GroupProgress(
            group, session_timeout_seconds, session_timeout_seconds + revocation_seconds + _SPARE_SECONDS, monotonic
        )
        config.update({"statistics.interval.ms": _STATISTICS_INTERVAL_MS, "stats_cb": progress.statistics})
        self._progress = progress
        if config.get("group.protocol", "classic") == "classic":
            config.setdefault("session.timeout.ms", int(session_timeout_seconds * 1_000))
            # Members hear of a rebalance in the answer to their next heartbeat: the usual third of a session is long to wait.
            config.setdefault("heartbeat.interval.ms", max(100, int(session_timeout_seconds * 1_000 / 12)))
            config.setdefault("partition.assignment.strategy", "cooperative-sticky")
        self._bootstrap = str(client_config.get("bootstrap.servers", ""))
        self._consumer_config = config
        self._group = group
        self._topics = list(topics)
        self._on_revoked = on_revoked
        self._on_lost = on_lost if on_lost is not None else on_revoked
        self._owned = Owned(0, frozenset())
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._topics_seen: set[str] = set()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"membership {group}", daemon=True)

    def start(self) -> None:
        """Joins the group, in the background."""
        self._thread.start()

    def close(self) -> None:
        """Gives up all partitions and leaves the group."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def owned(self) -> Owned:
        """What is owned now."""
        return self._owned

    def has_assignment(self) -> bool:
        """Whether what is owned is what the group gave this member, and the group has made progress lately.

        False before the first assignment, from a loss until the next assignment, and while a rebalance takes longer than a session. A
        member that owns nothing may be a spare, or wait for a partition that another member is giving up: it has an assignment once
        that would have come.
        """
        return self._progress.is_settled(owns_any=bool(self._owned.partitions))

    def unassigned_seconds(self) -> float:
        """How long the group has given no assignment that holds; 0 while there is one."""
        return self._progress.unassigned_seconds()

    def wait(self, epoch: int, timeout_seconds: float) -> Owned:
        """What is owned, as soon as it is not what it was at `epoch`, or after the time-out."""
        with self._changed:
            self._changed.wait_for(lambda: self._owned.epoch != epoch or self._failure is not None, timeout_seconds)
            return self._owned

    def check(self) -> None:
        """Raises what the membership thread died of."""
        if self._failure is not None:
            raise self._failure

    # --- the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            consumer = KafkaConsumer(self._consumer_config)
            try:
                consumer.subscribe(self._topics, on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)
                while not self._stop.is_set():
                    self._poll(consumer)
                    self._progress.look()
            finally:
                consumer.close()  # serves the revocation of what is still owned
        except BaseException as error:  # noqa: BLE001 - kept for `check`, which raises it in the owner's thread
            _log.error("membership_failed", group=self._group, error=str(error))
            self._failure = error
        finally:
            self._publish(frozenset(), None)

    def _poll(self, consumer: Consumer) -> None:
        try:
            message = served(consumer.poll, _POLL_SECONDS)
        except KafkaException as fatal:
            raise translate(fatal.args[0], f"as a member of group {self._group}", self._bootstrap) from fatal
        if message is not None and (error := message.error()) is not None:
            # The member is paused everywhere and reads nothing: what concerns fetching concerns it not.
            if error.fatal():
                raise translate(error, f"as a member of group {self._group}", self._bootstrap)
            if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED):
                topic_seen = message.topic() in self._topics_seen
                raise translate(error, f"as a member of group {self._group}", self._bootstrap, topic_seen=topic_seen)
            if error.code() not in UNREACHABLE:
                _log.info("membership_event", group=self._group, code=error.name(), reason=error.str())
        if self._progress.assigned:
            self._refresh_metadata(consumer)

    def _refresh_metadata(self, consumer: Consumer) -> None:
        # A rebalance that leaves our partitions where they are still begins a generation. The revocation callback of a
        # partition always runs before its loss can show in the metadata, and both run in this thread: what is published here
        # therefore never pairs a newer generation with a partition that is gone.
        metadata = _group_metadata(consumer)
        if metadata is not None:
            owned = self._owned
            self._owned = Owned(owned.epoch, owned.partitions, metadata)

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if consumer_is_cooperative(self._consumer_config):
            consumer.incremental_assign(_at_end(partitions))
        else:
            consumer.assign(_at_end(partitions))
        if partitions:
            consumer.pause(partitions)
        gained = frozenset((partition.topic, partition.partition) for partition in partitions)
        self._topics_seen.update(partition.topic for partition in partitions)
        self._progress.note_assignment()
        if gained:
            _log.debug("partitions_assigned", group=self._group, partitions=sorted(gained))
        self._publish(self._owned.partitions | gained, _group_metadata(consumer))

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._give_up(consumer, partitions, "partitions_revoked", self._on_revoked)

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._progress.note_loss()
        self._give_up(consumer, partitions, _LOST, self._on_lost)

    def _give_up(
        self,
        consumer: Consumer,
        partitions: list[TopicPartition],
        event: str,
        told: Callable[[frozenset[TopicAndPartition]], None] | None,
    ) -> None:
        gone = frozenset((partition.topic, partition.partition) for partition in partitions)
        if event == _LOST:
            _log.warning(event, group=self._group, partitions=sorted(gone), about="kafka")
        else:
            _log.debug(event, group=self._group, partitions=sorted(gone))
        self._publish(self._owned.partitions - gone, self._owned.metadata)
        if told is not None:
            told(gone)
        if consumer_is_cooperative(self._consumer_config):
            consumer.incremental_unassign(partitions)
        else:
            consumer.unassign()

    def _publish(self, partitions: frozenset[TopicAndPartition], metadata: Any) -> None:
        with self._changed:
            self._owned = Owned(self._owned.epoch + 1, partitions, metadata)
            self._changed.notify_all()


def consumer_is_cooperative(config: Mapping[str, Any]) -> bool:
    """Whether a consumer with this configuration gains and loses partitions one by one."""
    return config.get("group.protocol", "classic") == "consumer" or "cooperative" in str(
        config.get("partition.assignment.strategy", "")
    )


def _group_metadata(consumer: Consumer) -> Any:
    try:
        return consumer.consumer_group_metadata()
    except (KafkaException, RuntimeError) as error:
        raise LogError(f"the consumer group gave no metadata: {error}") from error


def _at_end(partitions: Sequence[TopicPartition]) -> list[TopicPartition]:
    # Paused at once and never read; the end is an offset that always exists, where a missing committed offset is an error.
    return [TopicPartition(partition.topic, partition.partition, OFFSET_END) for partition in partitions]
