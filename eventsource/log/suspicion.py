"""Noticing that a transaction coordinator may still hold a request of ours.

librdkafka repeats an EndTxn whose answer did not come, with the same producer id and epoch (it has no KIP-890 part 2,
confluentinc/librdkafka#5423). The late copy may end the *next* transaction: its commit returns OK and its events are gone.
So whenever the coordinator's connection timed out, broke or was retried, the producers are replaced before they are used
again. Statistics come late and an RST is retried within 90 ms: hence three signs, any of which suffices.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Final

import structlog

_log = structlog.get_logger("eventsource.kafka")

SLOW_END_SECONDS: Final = 0.5
STATISTICS_INTERVAL_MS: Final = 1_000
_COORDINATOR: Final = "TxnCoordinator"
_SIGNS: Final = ("REQTMOUT", "FAIL", "TIMEOUT", "RETRY")
_COUNTERS: Final = ("req_timeouts", "disconnects", "txretries")


class Suspicion:
    """Collects the signs about one producer. Its callbacks run in the thread that polls or flushes that producer."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self._counted: int | None = None
        self.logger = logging.Logger("eventsource.kafka.transactions", level=logging.DEBUG)
        self.logger.addHandler(_Listener(self._read_line))

    def statistics(self, text: str) -> None:
        """librdkafka's `stats_cb`: counters of the coordinator's connection that moved are a sign."""
        for name, broker in json.loads(text).get("brokers", {}).items():
            if name.startswith(_COORDINATOR):
                counted = sum(int(broker.get(counter, 0)) for counter in _COUNTERS)
                if self._counted is not None and counted > self._counted:
                    self.raise_suspicion("the coordinator's connection counted a time-out, disconnect or retry")
                self._counted = counted

    def end_took(self, seconds: float) -> None:
        """How long ending a transaction took: slower than any healthy coordinator is a sign."""
        if seconds > SLOW_END_SECONDS:
            self.raise_suspicion(f"ending a transaction took {seconds:.2f} s")

    def raise_suspicion(self, reason: str) -> None:
        """Notes a reason to replace the producer. The first one stands."""
        if self.reason is None:
            self.reason = reason

    def _read_line(self, line: str) -> None:
        if _COORDINATOR in line and any(sign in line for sign in _SIGNS):
            self.raise_suspicion("librdkafka logged a failed or repeated request to the coordinator")
        _log.debug("librdkafka", line=line)


class _Listener(logging.Handler):
    def __init__(self, hear: Callable[[str], None]) -> None:
        super().__init__()
        self._hear = hear

    def emit(self, record: logging.LogRecord) -> None:
        self._hear(record.getMessage())
