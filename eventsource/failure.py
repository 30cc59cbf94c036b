"""What becomes of a part of a worker that failed for good: whether and when it is tried again, and how often that is logged."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from eventsource.errors import (
    ClusterMismatch,
    DatabaseUnavailable,
    EventSourceError,
    LogError,
    OffsetLost,
    PositionConflict,
    TopicMismatch,
)

Jitter = Callable[[float, float], float]

_DAMAGE: Final = (OffsetLost, TopicMismatch, ClusterMismatch)
_FIRST_WAIT_SECONDS: Final = 1.0
_LONGEST_WAIT_SECONDS: Final = 60.0
_LOGGED_AGAIN_SECONDS: Final = 60.0
PROVEN_SECONDS: Final = 5.0
"""A part that failed counts as recovered once it has worked for so long: a projection meets the same event again at once."""


def is_tried_again(error: BaseException) -> bool:
    """Whether a failed part may try again by itself.

    Not where the log is another than it was. Such an error can vanish without having been repaired: a log that was cut grows past
    the position that it lost, and everything between would be skipped.
    """
    return not isinstance(error, _DAMAGE)


def retry_wait_seconds(failures: int, jitter: Jitter = random.uniform) -> float:
    """How long to wait after so many failures in a row: a second at least, a minute at most."""
    longest = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2.0 ** min(failures, 10))
    return jitter(_FIRST_WAIT_SECONDS, longest)


def describe(error: BaseException) -> str:
    """An error in a line of the log."""
    return f"{type(error).__name__}: {error}"


def about(error: BaseException) -> str:
    """What an error is about that may pass: lines about the same are one a minute in a process (`eventsource/cli/logs.py`)."""
    if isinstance(error, DatabaseUnavailable | PositionConflict):
        return "postgres"
    return "kafka" if isinstance(error, LogError) else type(error).__name__


def traceback_of(error: BaseException) -> BaseException | None:
    """The error if its traceback is wanted: what the framework raises says what to do, anything else does not."""
    return None if isinstance(error, EventSourceError) else error


@dataclass(slots=True)
class Repetition:
    """Decides whether a failure is logged: a new one at once, the same one again once a minute."""

    _last: str = ""
    _logged_at: float = float("-inf")

    def is_logged(self, error: BaseException, now: float) -> bool:
        """Whether this failure is to be logged, at this monotonic time in seconds."""
        text = describe(error)
        if text == self._last and now - self._logged_at < _LOGGED_AGAIN_SECONDS:
            return False
        self._last, self._logged_at = text, now
        return True
