"""Turns: which of a worker's owners handles commands next."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable
from typing import Final

PATIENCE_SECONDS: Final = 0.01
_PATIENCE_COMMAND_SECONDS: Final = 1e-3
_DUE_COMMAND_SECONDS: Final = 1e-4
_SHORTEST_WAIT_SECONDS: Final = 0.001


class Turn:
    """One owner's place in the order. Belongs to its thread."""

    __slots__ = ("_arrived_at", "_late_at", "_turns", "due_at", "given", "overstays", "patience_seconds")

    def __init__(self, turns: Turns) -> None:
        self.given = threading.Event()
        self.due_at = 0.0
        self.patience_seconds = 0.0
        """For how long its part of a batch is waited for."""
        self.overstays = False
        """Whether its last part took longer than that."""
        self._turns = turns
        self._arrived_at = 0.0
        self._late_at: float | None = None

    def take(self, commands: int, together: int) -> None:
        """Waits until it is this owner's turn to handle so many commands, `together` of them first. `leave` must follow."""
        self._arrived_at = self._turns.monotonic()
        self._expect(commands, together)
        self._turns.take(self)
        self._late_at = self._turns.monotonic() + self.patience_seconds

    def go_on(self, commands_left: int, together: int) -> None:
        """To be called between the parts of a batch: lets those go first that have less to do."""
        self._end_part()
        self._expect(commands_left, together)
        self._turns.go_on(self)
        self._late_at = self._turns.monotonic() + self.patience_seconds

    def leave(self) -> None:
        """Ends the turn. Does nothing where there is none."""
        self._end_part()
        self._turns.leave(self)

    def _expect(self, commands_left: int, together: int) -> None:
        self.due_at = self._arrived_at + commands_left * _DUE_COMMAND_SECONDS
        next_part = min(commands_left, together)
        self.patience_seconds = self._turns.patience_seconds + next_part * _PATIENCE_COMMAND_SECONDS

    def _end_part(self) -> None:
        if self._late_at is not None:
            self.overstays = self._turns.monotonic() > self._late_at
            self._late_at = None


class Turns:
    """One owner of a worker handles at a time, one part of a batch after the other.

    Python runs one thread at a time in any case. Owners that take turns every few milliseconds all come to the ends of their
    batches together, and then all wait for the broker; one after the other, each handles while the others' transactions end, and what
    it touches stays in the processor's cache.

    First comes whose due time is nearest, and that is the time of arrival and a tenth of a millisecond for each command: a lone
    command passes by batches that came before it, and no batch waits for ever.

    A command that takes long is not waited for: after `patience_seconds` and a millisecond for each command of the part the
    next owner begins as well. Who overstays like that may be waiting for something else than Python's lock, and then turns would only
    cost: he handles beside the others, without a turn, until a part of his takes no longer than it may.
    """

    def __init__(self, monotonic: Callable[[], float], patience_seconds: float = PATIENCE_SECONDS) -> None:
        self.monotonic = monotonic
        self.patience_seconds = patience_seconds
        self._lock = threading.Lock()
        self.holder: Turn | None = None
        """Whose turn it is."""
        self._late_at = 0.0
        self._waiting: list[tuple[float, int, Turn]] = []
        self._arrivals = 0

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._waiting)

    def take(self, turn: Turn) -> None:
        """See `Turn.take`."""
        if turn.overstays:
            return
        with self._lock:
            if self.holder is None and not self._waiting:
                self._give(turn)
                return
            self._queue(turn)
        self._wait(turn)

    def go_on(self, turn: Turn) -> None:
        """See `Turn.go_on`."""
        if turn.overstays:
            self.leave(turn)
            return
        with self._lock:
            if self.holder is turn:
                if not self._waiting or self._waiting[0][0] >= turn.due_at:
                    self._give(turn)
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
        while not turn.given.wait(max(self._late_at - self.monotonic(), _SHORTEST_WAIT_SECONDS)):
            with self._lock:
                if self.monotonic() >= self._late_at:
                    self.holder = None  # it goes on, beside the next
                    self._give_next()

    def _give_next(self) -> None:
        if self.holder is None and self._waiting:
            self._give(heapq.heappop(self._waiting)[2])

    def _give(self, turn: Turn) -> None:
        self.holder = turn
        self._late_at = self.monotonic() + turn.patience_seconds
        turn.given.set()
