"""How an import shows that it goes on: on a terminal a line that changes, elsewhere one line a step; all on stderr."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import Progress as Bars
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

from eventsource.embedded import Progress


class ImportProgress:
    """A context manager. `quiet` shows nothing unless there is a terminal."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bars: Bars | None = None
        self._quiet = quiet
        self._step = ""
        if self._console.is_terminal:
            columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
            self._bars = Bars(*columns, console=self._console, transient=True)

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._bars.start()
            self._bars.add_task("Starting", total=None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def step(self, text: str, detail: str = "") -> None:
        """What is being done now; `detail` may change often."""
        if self._bars is not None:
            self._bars.update(self._bars.task_ids[0], description=f"{text}{detail}")
        elif text != self._step and not self._quiet:
            print(text, file=sys.stderr, flush=True)
        self._step = text

    def embedded(self, progress: Progress) -> None:
        """What the embedded stack is doing."""
        detail = ""
        if progress.done_bytes is not None and progress.total_bytes:
            detail = f" {progress.done_bytes / 1e6:.0f} of {progress.total_bytes / 1e6:.0f} MB"
        self.step(progress.step, detail)
