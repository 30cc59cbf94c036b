"""Turns: which of a worker's owners handles commands next."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable
from typing import Final

PATIENCE_SECONDS: Final = 0.1
"""For how long one that does not come to the end of its part of a batch is waited for."""
_COMMAND_SECONDS: Final = 1e-4


class Turn:
    """One owner's place in the order. Belongs to its thread."""

    __slots__ = ("_arrived_at", "due_at", "given", "turns")

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.given = threading.Event()
        self.due_at = 0.0
        self._arrived_at = 0.0

    def take(self, commands: int) -> None:
        """Waits until it is this owner's turn to handle so many commands. `leave` must follow."""
        self._arrived_at = self.turns.monotonic()
        self.due_at = self._arrived_at + commands * _COMMAND_SECONDS
        self.turns.take(self)

    def go_on(self, commands_left: int) -> None:
        """To be called between the parts of a batch: lets those go first that have less to do."""
        self.due_at = self._arrived_at + commands_left * _COMMAND_SECONDS
        self.turns.go_on(self)

    def leave(self) -> None:
        """Ends the turn. Does nothing where there is none."""
        self.turns.leave(self)


class Turns:
    """One owner of a worker handles at a time, one batch after the other.

    Python runs one thread at a time in any case. Owners that take turns every few milliseconds all come to the ends of their
    batches together, and then all wait for the broker; one after the other, each handles while the others' transactions end, and what
    it touches stays in the processor's cache.

    First comes whose due time is nearest, and that is the time of arrival and a tenth of a millisecond for each command: a lone
    command passes by batches that came before it, and no batch waits for ever. A command that takes long is not waited for:
    after `patience_seconds` without a sign the next one begins as well.
    """

    def __init__(self, monotonic: Callable[[], float], patience_seconds: float = PATIENCE_SECONDS) -> None:
        self.monotonic = monotonic
        self._patience_seconds = patience_seconds
        self._lock = threading.Lock()
        self.holder: Turn | None = None
        """Whose turn it is."""
        self._seen_at = 0.0
        self._waiting: list[tuple[float, int, Turn]] = []
        self._arrivals = 0

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._waiting)

    def take(self, turn: Turn) -> None:
        """See `Turn.take`."""
        with self._lock:
            if self.holder is None and not self._waiting:
                self._give(turn)
                return
            self._queue(turn)
        self._wait(turn)

    def go_on(self, turn: Turn) -> None:
        """See `Turn.go_on`."""
        with self._lock:
            if self.holder is turn:
                self._seen_at = self.monotonic()
                if not self._waiting or self._waiting[0][0] >= turn.due_at:
                    return
                self.holder = None
            self._queue(turn)
            self._give_next()
        self._wait(turn)

    def leave(self, turn: Turn) -> None:
        """See `Turn.leave`."""
        with self._lock:
            if self.holder is turn:
                self.holder = None
                self._give_next()

    def _queue(self, turn: Turn) -> None:
        turn.given.clear()
        self._arrivals += 1
        heapq.heappush(self._waiting, (turn.due_at, self._arrivals, turn))

    def _wait(self, turn: Turn) -> None:
        while not turn.given.wait(self._patience_seconds):
            with self._lock:
                if self.monotonic() - self._seen_at >= self._patience_seconds:
                    self.holder = None  # it goes on, beside the next
                    self._give_next()

    def _give_next(self) -> None:
        if self.holder is None and self._waiting:
            self._give(heapq.heappop(self._waiting)[2])

    def _give(self, turn: Turn) -> None:
        self.holder = turn
        self._seen_at = self.monotonic()
        turn.given.set()
