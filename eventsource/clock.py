"""Time and ids, passed in: nothing in the framework reads a clock or draws a random id by itself."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the framework asks of time. `SystemClock` is the real one; `eventsource.testing.VirtualClock` stands still."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start, never going back: for time-outs and durations."""


class Ids(Protocol):
    """What the framework asks of identity."""

    def new(self) -> str:
        """A fresh id, unique across processes."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class RandomIds:
    """Random UUIDs (version 4) in canonical form."""

    def new(self) -> str:
        return str(uuid.uuid4())
