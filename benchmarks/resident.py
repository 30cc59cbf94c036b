"""Resident memory of a process over time, and its trend."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

import psutil

_EVERY_SECONDS: Final = 0.2
_MIB: Final = 1024 * 1024

Sample = tuple[float, float]
"""Seconds since the first one, and MiB."""


class ResidentMemory:
    """Looks at a process's resident set five times a second, in a thread of its own. A context manager."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._began = time.monotonic()
        self.samples: list[Sample] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, name="resident memory", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def peak_mib(self) -> float:
        """The most that was seen."""
        return max(mib for _, mib in self.samples)

    def _look(self) -> None:
        while True:
            try:
                mib = self._process.memory_info().rss / _MIB
            except psutil.NoSuchProcess:
                return
            self.samples.append((time.monotonic() - self._began, mib))
            if self._stop.wait(_EVERY_SECONDS):
                return


def slope_per_hour(samples: Sequence[Sample]) -> float:
    """The slope of the straight line that least squares draw through the samples, per hour.

    Raises `ValueError` when they are less than two, or all of one moment.
    """
    count = len(samples)
    if count < 2:
        raise ValueError("a trend needs two samples at least")
    mean_seconds = sum(seconds for seconds, _ in samples) / count
    mean_mib = sum(mib for _, mib in samples) / count
    spread = sum((seconds - mean_seconds) ** 2 for seconds, _ in samples)
    if spread == 0:
        raise ValueError("all samples are of one moment: there is no trend")
    return sum((seconds - mean_seconds) * (mib - mean_mib) for seconds, mib in samples) / spread * 3_600
