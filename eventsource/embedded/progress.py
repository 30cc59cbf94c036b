"""What the stack tells its caller while it downloads and starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of the way. The two byte counts are there only for a step that downloads."""

    step: str
    done_bytes: int | None = None
    total_bytes: int | None = None


ProgressCallback: TypeAlias = Callable[[Progress], None]
"""Called from any thread, one call at a time; must not block."""


def no_progress(progress: Progress) -> None:
    """Tells nobody."""
    del progress
