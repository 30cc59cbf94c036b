"""The latencies of requests that are sent by the clock."""

from __future__ import annotations

import threading


class Latencies:
    """Counts each request from the moment at which it was due."""

    def __init__(self, count: int) -> None:
        self._due = [0.0] * count
        self._answered: list[float | None] = [None] * count
        self._left = count
        self._all = threading.Event()

    def sent(self, number: int, due: float) -> None:
        """Notes when a request was due, before it leaves."""
        self._due[number] = due

    def answered(self, number: int, now: float) -> None:
        """Notes the answer."""
        self._answered[number] = now
        self._left -= 1
        if self._left == 0:
            self._all.set()

    def wait(self, timeout_seconds: float) -> int:
        """Waits for the last answer; returns how many are missing."""
        self._all.wait(timeout_seconds)
        return self._left

    def milliseconds(self, begin: int) -> list[float]:
        """The latencies of the requests from number `begin` on."""
        pairs = zip(self._due[begin:], self._answered[begin:], strict=True)
        return [round((now - due) * 1_000, 3) for due, now in pairs if now is not None]
