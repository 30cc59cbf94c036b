"""Time and ids, passed in: nothing in the framework reads a clock or draws a random id by itself."""

from __future__ import annotations

import os
import time
import uuid
from datetime import UTC, datetime
from typing import Final, Protocol

# The six bits of a UUID that are the same in all of version 7.
_NOT_FIXED: Final = ~(0xF << 76 | 0x3 << 62)
_VERSION_7: Final = 0x7 << 76
_VARIANT_10: Final = 0x2 << 62


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
    """UUIDs of version 7 (RFC 9562, 5.7) in canonical form: the milliseconds of the machine's clock, then 74 random bits.

    They sort by time: whoever keeps them on disk, as state stores do, adds new ones at the end.
    """

    def new(self) -> str:
        milliseconds = time.time_ns() // 1_000_000
        random = int.from_bytes(os.urandom(10), "big")
        bits = milliseconds << 80 | random
        return str(uuid.UUID(int=bits & _NOT_FIXED | _VERSION_7 | _VARIANT_10))
