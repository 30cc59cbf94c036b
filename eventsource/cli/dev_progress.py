"""What `eventsource dev` shows while the stack downloads and starts: a bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, SpinnerColumn, TextColumn, TransferSpeedColumn
from rich.progress import Progress as Bars

from eventsource.cli.output import note

if TYPE_CHECKING:
    from eventsource.embedded import Progress

_PLAIN_STEP_PERCENT = 25


class DevProgress:
    """A `ProgressCallback` and a context manager; everything goes to stderr."""

    def __init__(self) -> None:
        self._bars: Bars | None = None
        self._step = ""
        self._percent = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __call__(self, progress: Progress) -> None:
        if sys.stderr.isatty():
            self._show_bar(progress)
        else:
            self._show_line(progress)

    def close(self) -> None:
        """Clears the bar."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def _show_bar(self, progress: Progress) -> None:
        if self._bars is None or progress.step != self._step:
            self.close()
            columns = [SpinnerColumn(), TextColumn("{task.description}")]
            if progress.total_bytes is not None:
                columns += [BarColumn(), DownloadColumn(), TransferSpeedColumn()]
            self._bars = Bars(*columns, console=Console(stderr=True), transient=True)
            self._bars.start()
            self._bars.add_task(progress.step, total=progress.total_bytes)
            self._step = progress.step
        self._bars.update(self._bars.task_ids[0], completed=progress.done_bytes or 0)

    def _show_line(self, progress: Progress) -> None:
        if progress.step != self._step:
            self._step, self._percent = progress.step, 0
            note(progress.step)
        if progress.total_bytes and progress.done_bytes is not None:
            percent = progress.done_bytes * 100 // progress.total_bytes
            if percent >= self._percent + _PLAIN_STEP_PERCENT:
                self._percent = percent
                note(f"  {percent} % of {progress.total_bytes / 1e6:.0f} MB")
