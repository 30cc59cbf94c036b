"""Workers that lack a guard: what each guard is for is shown by what happens without it. Used by the worker program alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from eventsource.log.transactions import PartitionWriter


def _suspicion() -> None:
    """Producers whose coordinator gave signs of trouble go on."""
    PartitionWriter.suspect = lambda self: None  # type: ignore[method-assign]


_REMOVALS: Final[dict[str, Callable[[], None]]] = {"suspicion": _suspicion}


def remove(guard: str) -> None:
    """Takes a guard out of this process."""
    _REMOVALS[guard]()
