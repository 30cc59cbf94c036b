"""Kafka client settings: the user's own, untouched, and what the framework demands on top."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog
from confluent_kafka import KafkaError

_log = structlog.get_logger("eventsource.kafka")

SOCKET_TIMEOUT_MS: Final = 10_000
"""How long a connection may leave a request unanswered before it counts as broken, as one that is half-open is.

librdkafka's default is a minute, in which a partition would be neither read nor written.
"""
_TOLD_AGAIN_SECONDS: Final = 30.0

# Settings that a user may not turn: each would break a promise of the framework without anyone noticing.
_DEMANDED: Final[Mapping[str, Any]] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "isolation.level": "read_committed",
}


def base_config(client_config: Mapping[str, Any]) -> dict[str, Any]:
    """Any client: the user's settings, and client errors to the log instead of stderr."""
    return {
        "error_cb": ClientErrorLog(),
        # Lines on stderr are no log: what matters reaches `error_cb`, and librdkafka goes on trying by itself.
        "log_level": 2,
        "socket.timeout.ms": SOCKET_TIMEOUT_MS,
        **client_config,
    }


def consumer_config(client_config: Mapping[str, Any], group: str) -> dict[str, Any]:
    """A consumer that reads committed records only, fails closed on a lost offset, and commits nothing by itself."""
    return {
        "fetch.wait.max.ms": 100,
        # An empty fetch must not hold a lone command back, nor a fresh leader a take-over.
        "fetch.error.backoff.ms": 20,
        "topic.metadata.refresh.interval.ms": 30_000,
        # Read ahead, but not far: a worker has a consumer for each partition, and librdkafka's own 64 MB for each is its undoing.
        "queued.min.messages": 10_000,
        "queued.max.messages.kbytes": 8_192,
        "fetch.queue.backoff.ms": 25,  # how long a full queue stops the fetching: by default for a second, in which it runs dry
        **base_config(client_config),
        **_DEMANDED,
        "group.id": group,
    }


def foreign_config(client_config: Mapping[str, Any]) -> dict[str, Any]:
    """A user's settings for the reading of a topic that anybody may write to.

    librdkafka holds all that a fetch decompresses to, and of what compresses well a megabyte becomes gigabytes. A fetch brings one
    batch at least, however large it is; so only small ones are fewer at a time.
    """
    return {"fetch.message.max.bytes": 4_096, **client_config}


def producer_config(client_config: Mapping[str, Any]) -> dict[str, Any]:
    """An idempotent producer that waits for all in-sync replicas."""
    return {
        # A lone command waits for nobody; who sends in bulk sets a linger of its own, which halves the broker's work.
        "linger.ms": 0,
        **base_config(client_config),
        "enable.idempotence": True,
        "acks": "all",
        # The framework names the partition of every record; this only guards against a record that would name none.
        "partitioner": "murmur2_random",
    }


class ClientErrorLog:
    """A client's `error_cb`: tells of each kind of error at once, and then at most every half minute.

    While a broker is away, librdkafka tells ten times a second, for every connection of every client.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._told_at: dict[int, float] = {}
        self._untold: dict[int, int] = {}

    def __call__(self, error: KafkaError) -> None:
        code, now = error.code(), self._monotonic()
        if not error.fatal() and now - self._told_at.get(code, float("-inf")) < _TOLD_AGAIN_SECONDS:
            self._untold[code] = self._untold.get(code, 0) + 1
            return
        self._told_at[code] = now
        repeated = self._untold.pop(code, 0)
        _log.warning(
            "kafka_client_error",
            code=error.name(),
            reason=error.str(),
            fatal=error.fatal(),
            repeated_since=repeated,
            about="kafka",
        )
