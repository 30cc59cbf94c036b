"""Notices a batch of a projection that does not end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

from eventsource.clock import Clock

HANGS_AFTER_SECONDS: Final = 30.0
"""A projection that is at one batch for so long is not ready."""
DEAD_AFTER_SECONDS: Final = 300.0
"""After so long the process is better ended. Not sooner: its other parts work, and the batch may hang in the next process too."""


class BatchWatch:
    """How long the batch at hand has been folded and written. A catch-up of many batches is as long as the current one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began: float | None = None

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Around the work on one batch, in the thread that does it."""
        self._began = self._clock.monotonic()
        try:
            yield
        finally:
            self._began = None

    @property
    def hangs(self) -> bool:
        """Whether the batch takes longer than a batch should. Any thread may ask."""
        return self._seconds() >= HANGS_AFTER_SECONDS

    @property
    def is_dead(self) -> bool:
        """Whether only a new process helps. Any thread may ask."""
        return self._seconds() >= DEAD_AFTER_SECONDS

    def _seconds(self) -> float:
        began = self._began
        return 0.0 if began is None else self._clock.monotonic() - began
