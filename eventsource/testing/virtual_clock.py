"""A clock that stands still until a test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

START: Final = datetime(2000, 1, 1, tzinfo=UTC)


class VirtualClock:
    """Satisfies `eventsource.clock.Clock`. Begins at 2000-01-01 00:00 UTC unless told otherwise."""

    def __init__(self, start: datetime = START) -> None:
        if start.tzinfo is None:
            raise ValueError(
                "the start of a virtual clock needs a time zone: pass an aware datetime, such as one with tzinfo=UTC"
            )
        self._start = start.astimezone(UTC)
        self._now = self._start

    def now(self) -> datetime:
        """The virtual time, aware, in UTC."""
        return self._now

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return (self._now - self._start).total_seconds()

    def advance(self, by: timedelta) -> datetime:
        """Moves the time forward and returns it."""
        if by < timedelta(0):
            raise ValueError(f"time does not go back: advance by a positive timedelta, not {by}")
        self._now += by
        return self._now
