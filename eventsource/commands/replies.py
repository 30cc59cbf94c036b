"""Sending replies: after the commit, outside every transaction, by one plain idempotent producer of the worker.

In the transaction they would wait for every other owner's open transaction in the replies partition, and could not know
where their events stand. A reply that is lost is an unknown outcome: the same command sent again is answered from the log.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from eventsource.log.client_config import producer_config
from eventsource.log.kafka_clients import KafkaProducer
from eventsource.log.plain_producer import PlainProducer
from eventsource.telemetry import ReplyMetrics

_log = structlog.get_logger("eventsource.replies")


_QUEUE_KILOBYTES: Final = (
    65_536  # replies that no broker takes are lost beyond this, and their commands asked for again
)
_RECORD_BYTES: Final = (
    32_768  # replies to one client travel together up to this size, which brokers and clients take at ease
)
_LOG_SECONDS: Final = 10.0
"""Replies that were dropped are logged at most this often, with their number by reason."""


class ReplySender:
    """Safe to share between the owners of a worker.

    Nothing here waits: an owner's thread has the commands of a whole partition to handle. A reply that cannot be queued or delivered
    is dropped and counted.
    """

    def __init__(
        self, client_config: Mapping[str, Any], topic: str, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._topic = topic
        self._dropped = _DroppedReplies(monotonic)
        self._config = {
            **producer_config({"queue.buffering.max.kbytes": _QUEUE_KILOBYTES, **client_config}),
            "delivery.report.only.error": True,
        }
        self._producer = PlainProducer(self._connect)

    def _connect(self) -> Producer:
        return KafkaProducer(self._config)

    def send(self, replies: Iterable[tuple[int, bytes, bytes]]) -> None:
        """Sends replies: partition of the replies topic, client id, bytes of a `Reply`. Never waits, never raises.

        Those to one client are joined: a record costs as much as ten replies.
        """
        waiting: dict[tuple[int, bytes], list[bytes]] = {}
        for partition, client_id, reply in replies:
            address = partition, client_id
            joined = waiting.get(address)
            if joined is None:
                waiting[address] = [reply]
            else:
                joined.append(reply)
        for address, joined in waiting.items():
            self._produce(address, joined)
        self._serve()
        self._dropped.log()

    def _produce(self, address: tuple[int, bytes], joined: Sequence[bytes]) -> None:
        partition, client_id = address
        for replies, record in _records(joined):
            report = partial(self._report, replies)
            try:
                self._producer.produce(self._topic, partition, client_id, record, report)
            except Exception as error:  # noqa: BLE001 - the commands are committed: a reply that is lost must not undo their owner
                self._dropped.note(_reason(error), replies)

    def _report(self, replies: int, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._dropped.note(error.name(), replies)

    def _serve(self) -> None:
        try:
            self._producer.poll(0.0)
        except Exception as error:  # noqa: BLE001 - likewise
            self._dropped.note(_reason(error), 0)

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Sends what waits, for at most `timeout_seconds`, and drops the rest. What is sent later is dropped too."""
        self._producer.close(timeout_seconds)
        self._dropped.log(at_once=True)


class _DroppedReplies:
    """How many replies were dropped for which reason: counted at once, logged at a bounded rate. Safe to share between threads."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._metrics = ReplyMetrics()
        self._by_reason: Counter[str] = Counter()
        self._logged_at = float("-inf")

    def note(self, reason: str, replies: int) -> None:
        """So many replies are lost."""
        with self._lock:
            self._by_reason[reason] += replies
        self._metrics.dropped(reason, replies)

    def log(self, *, at_once: bool = False) -> None:
        """Logs what was noted, unless something was logged within the last seconds."""
        if not self._by_reason:
            return
        now = self._monotonic()
        with self._lock:
            if not self._by_reason or (not at_once and now - self._logged_at < _LOG_SECONDS):
                return
            by_reason, self._by_reason = dict(self._by_reason), Counter()
            self._logged_at = now
        _log.warning("replies_dropped", replies=sum(by_reason.values()), reasons=by_reason, about="kafka")


def _reason(error: Exception) -> str:
    """A short name of an error, of which there are few."""
    if isinstance(error, KafkaException) and error.args and isinstance(error.args[0], KafkaError):
        return error.args[0].name()
    return "_QUEUE_FULL" if isinstance(error, BufferError) else type(error).__name__


def _records(replies: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
    """The records that hold these replies, and how many are in each."""
    start = size = 0
    for index, reply in enumerate(replies):
        size += len(reply)
        if size > _RECORD_BYTES and index > start:
            yield index - start, b"".join(replies[start:index])
            start, size = index, len(reply)
    yield len(replies) - start, b"".join(replies[start:])
