"""Open-loop load: requests leave by the clock, whether or not earlier ones were answered.

A request that leaves late, because the sender or the system under test was stalled, still counts from the moment at which it was due.
Otherwise a stall of a second would show in one request instead of in all those that were due during it: coordinated omission
(Gil Tene, "How NOT to measure latency").
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    """`count` requests, evenly spaced at `per_second` from `start_seconds` on."""

    start_seconds: float
    per_second: float
    count: int

    def due(self, number: int) -> float:
        """When request `number`, from 0, is to leave. It depends on nothing that happened before."""
        return self.start_seconds + number / self.per_second


def send_all(
    schedule: Schedule,
    send: Callable[[int, float], None],
    *,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Calls `send(number, due)` for every request, not before it is due, and at once when it is overdue. None is left out."""
    for number in range(schedule.count):
        due = schedule.due(number)
        early_seconds = due - monotonic()
        if early_seconds > 0:
            sleep(early_seconds)
        send(number, due)
