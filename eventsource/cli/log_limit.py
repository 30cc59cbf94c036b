"""Fewer lines of log: of those about the same thing, one a minute in a process."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
from structlog.typing import EventDict, WrappedLogger

_SECONDS: Final = 60.0


@dataclass(slots=True)
class _Subject:
    written_at: float
    left_out: int = 0


class OneLineAMinute:
    """A structlog processor. Lines say what they are about in `about`, such as `kafka` in an outage; lines without it all pass.

    The first line about something is written at once, then one a minute, with the number of those that were `left_out` before it. So
    an outage, which dozens of clients and owners notice, is one line a minute. Nothing is left out where debug lines are written, and
    no errors.
    """

    def __init__(self, *, debug: bool, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._debug = debug
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._subjects: dict[str, _Subject] = {}

    def __call__(self, _logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        about = event.get("about")
        if self._debug or not isinstance(about, str) or logging.getLevelNamesMapping()[method.upper()] >= logging.ERROR:
            return event
        now = self._monotonic()
        with self._lock:
            subject = self._subjects.get(about)
            if subject is not None and now - subject.written_at < _SECONDS:
                subject.left_out += 1
                raise structlog.DropEvent
            self._subjects[about] = _Subject(now)
        if subject is not None and subject.left_out:
            event["left_out"] = subject.left_out
        return event
