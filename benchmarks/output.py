"""What a benchmark prints: progress to stderr, figures to stdout, and as its last line one JSON object."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Final, TypeAlias

from benchmarks.children import ChildFailed
from eventsource.errors import EventSourceError

Figures: TypeAlias = Mapping[str, float | str | None]
"""A figure is None where it was not measured; a text beside it says why."""
_DIGITS: Final = 5  # that mean something
_FAILED: Final = 1
_INTERRUPTED: Final = 130


def tell(text: str) -> None:
    """Says how far it is."""
    print(text, file=sys.stderr, flush=True)


def finish(figures: Figures, *, only_json: bool) -> None:
    """Prints the figures: for people unless `only_json`, and then for programs."""
    if not only_json:
        for name, figure in figures.items():
            print(f"{name:32} {written(figure)}")
    print(json.dumps({name: rounded(figure) for name, figure in figures.items()}), flush=True)


def written(figure: float | str | None) -> str:
    """A figure for people."""
    if figure is None:
        return "not measured"
    return figure if isinstance(figure, str) else f"{rounded(figure):,}"


def rounded(figure: float | str | None) -> float | str | None:
    """A figure without digits that mean nothing; whole from 1,000 on."""
    if not isinstance(figure, float):
        return figure
    return round(figure) if abs(figure) >= 1_000 else float(f"{figure:.{_DIGITS}g}")


@contextmanager
def orderly_end() -> Iterator[None]:
    """Lets SIGTERM do what Ctrl-C does, so that children and servers end before this process; tells an error in one sentence."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        tell("interrupted: nothing was measured to the end")
        raise SystemExit(_INTERRUPTED) from None
    except (ChildFailed, EventSourceError) as error:
        tell(f"error: {error}")
        raise SystemExit(_FAILED) from error
    finally:
        signal.signal(signal.SIGTERM, before)
