"""A producer outside of transactions: replaced when an error ends it, and let go of within a bounded time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from eventsource.errors import LogError
from eventsource.log.record import Headers
from eventsource.log.serving import flush, is_fatal, poll

_log = structlog.get_logger("eventsource.kafka")
_RENEW_SECONDS: Final = 1.0

Report = Callable[[KafkaError | None, Message], None]


class PlainProducer:
    """Safe to share between threads. Delivery reports are given in the thread that calls `poll` or `close`, to all but the closed.

    An idempotent producer of librdkafka is of no use after a fatal error. Another one takes its place, at most once a second; what
    the first had queued is reported as undelivered, and may have reached the log all the same.
    """

    def __init__(self, connect: Callable[[], Producer], *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._connect = connect
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._current: Producer | None = connect()
        self._spent: list[Producer] = []
        self._renewed_at = float("-inf")

    def __len__(self) -> int:
        producer = self._current
        return 0 if producer is None else len(producer)

    def produce(
        self,
        topic: str,
        partition: int,
        key: bytes,
        value: bytes | None,
        report: Report,
        headers: Headers | None = None,
    ) -> None:
        """Queues a record. Raises `BufferError` while the queue is full, `KafkaException`, and `LogError` once it is closed."""
        while True:
            producer = self._current
            if producer is None:
                raise LogError("this producer is closed, so nothing was sent: connect again")
            try:
                producer.produce(topic, value, key, partition, on_delivery=report, headers=headers)  # type: ignore[arg-type]  # pairs are what it takes
            except KafkaException as error:
                if not is_fatal(error) or not self._replace(producer, error):
                    raise
            else:
                return

    def poll(self, timeout_seconds: float = 0.0) -> None:
        """Gives delivery reports. Raises what they raise, and nothing else."""
        producer = self._current
        if producer is not None:
            try:
                poll(producer, timeout_seconds)
            except KafkaException as error:
                if not is_fatal(error):
                    raise
                self._replace(producer, error)
        if self._spent:
            self._drop_spent()

    def flush(self, timeout_seconds: float) -> int:
        """Sends what is queued, for at most so long. Returns how many records are left."""
        producer = self._current
        if producer is None:
            return 0
        try:
            return flush(producer, timeout_seconds)
        except KafkaException as error:
            if not is_fatal(error):
                raise
            _log.error("producer_failed", reason=str(error))
            return len(producer)

    def close(self, timeout_seconds: float) -> int:
        """Sends what is queued, for at most so long, and drops the rest, which is reported as undelivered. Returns how many."""
        left = self.flush(timeout_seconds)
        with self._lock:
            if self._current is not None:
                self._spent.append(self._current)
            self._current = None
        self._drop_spent()
        return left

    def _drop_spent(self) -> None:
        with self._lock:
            spent, self._spent = self._spent, []
        for producer in spent:
            _drop(producer)

    def _replace(self, producer: Producer, error: KafkaException) -> bool:
        """Whether there is another one now."""
        with self._lock:
            if self._current is not producer:
                return True
            now = self._monotonic()
            if now - self._renewed_at < _RENEW_SECONDS:
                return False
            self._renewed_at = now
            self._spent.append(producer)
            self._current = self._connect()
        _log.error("producer_replaced", reason=str(error))
        return True


def _drop(producer: Producer) -> None:
    # `Producer.close` would wait for brokers without a limit. What nobody was told of would keep its listener for ever.
    producer.purge()
    try:
        poll(producer)
    except KafkaException as error:
        if not is_fatal(error):
            raise
        poll(producer)  # the error came before the reports
