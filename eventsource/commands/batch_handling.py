"""A batch of commands, part by part, up to where its transaction can be committed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from eventsource.commands.handled import Handled
from eventsource.commands.handling import CommandHandling
from eventsource.commands.turns import Turn
from eventsource.log.record import Record
from eventsource.log.transactions import Transaction

_PRODUCED_TOGETHER: Final = 250
_LONGEST_BATCH_SECONDS: Final = 1.0


class BatchHandling:
    """Handles one owner's batches, each in the owner's turn. Belongs to its thread, but for `look`."""

    def __init__(self, handling: CommandHandling, turn: Turn, monotonic: Callable[[], float]) -> None:
        self._handling = handling
        self._memory = handling.memory
        self._turn = turn
        self._monotonic = monotonic
        self._began: float | None = None
        self.seconds = 0.0
        """How long the last batch took to handle, without the waits for its turn."""

    def look(self) -> None:
        """To be called a few times a second, from another thread: ends a batch of slow commands."""
        began = self._began
        if began is not None and self._monotonic() - began > _LONGEST_BATCH_SECONDS:
            self._handling.interrupt()

    def handle(self, batch: list[Record], transaction: Transaction, handled: Handled) -> list[Record]:
        """Waits for its turn, handles a batch, and hands its records to the transaction. Returns the commands that must wait.

        Those are what is left where handlers are slow, so that the transaction does not time out because of them, and where states
        are large, so that memory is bounded.
        """
        self._turn.take(len(batch), self._together)
        opened = began = self._began = self._monotonic()
        try:
            # Bit by bit: the producer sends one while the next is decided, and what was just made is still in the cache.
            start = 0
            while start < len(batch):
                if start:
                    self._began = None  # who waits does not handle slowly
                    asked = self._monotonic()
                    self._turn.go_on(len(batch) - start, self._together)
                    began += self._monotonic() - asked
                    self._began = began
                some = batch[start : start + self._together]
                self._handling.handle(some, handled)
                transaction.produce(handled.take())
                start += len(some)
                late = handled.next_offset <= some[-1].offset or self._monotonic() - opened > _LONGEST_BATCH_SECONDS
                if late or handled.is_full or self._memory.batch_is_large:
                    return [record for record in batch if record.offset >= handled.next_offset]
            return []
        finally:
            self._turn.leave()
            self._began = None
            self.seconds = self._monotonic() - began

    @property
    def _together(self) -> int:
        return min(_PRODUCED_TOGETHER, self._memory.together)
