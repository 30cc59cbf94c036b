"""The take-overs of a process's owners in the log: one line for all that go on together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

_log = structlog.get_logger("eventsource.owner")

_QUIET_SECONDS: Final = 0.5
_LONGEST_SECONDS: Final = 10.0


class TakeOvers:
    """Shared by the owners of all aggregates in a process. Safe to share between threads."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._under_way = 0
        self._partitions: dict[str, list[int]] = {}
        self._events = 0
        self._longest_seconds = 0.0
        self._first_at = self._last_at = 0.0

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """While an owner takes its partition over."""
        with self._lock:
            self._under_way += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1

    def note(self, aggregate: str, partition: int, events: int, seconds: float) -> None:
        """A partition was taken over, and so many events were replayed for it in so many seconds."""
        with self._lock:
            now = self._monotonic()
            if not self._partitions:
                self._first_at = now
            self._last_at = now
            self._partitions.setdefault(aggregate, []).append(partition)
            self._events += events
            self._longest_seconds = max(self._longest_seconds, seconds)

    def report(self, *, at_once: bool = False) -> None:
        """Logs what was taken over since the last line, once no more is coming or it took long. To be called a few times a second."""
        with self._lock:
            now = self._monotonic()
            is_quiet = self._under_way == 0 and now - self._last_at >= _QUIET_SECONDS
            if not self._partitions or not (at_once or is_quiet or now - self._first_at >= _LONGEST_SECONDS):
                return
            partitions, events, seconds = self._partitions, self._events, self._longest_seconds
            self._partitions, self._events, self._longest_seconds = {}, 0, 0.0
        _log.info(
            "partitions_taken_over",
            count=sum(map(len, partitions.values())),
            partitions={aggregate: number_ranges(numbers) for aggregate, numbers in sorted(partitions.items())},
            events=events,
            longest_seconds=round(seconds, 3),
        )


def number_ranges(numbers: Iterable[int]) -> str:
    """Numbers as people write them: `0-7, 9`."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
