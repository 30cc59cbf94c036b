"""Arithmetic of rates and pairs. Pure: what could lie has its own tests."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Look(NamedTuple):
    """What an observer saw: when, how many commands were handled by then, and the CPU time that their process had taken."""

    seconds: float
    handled: int
    cpu_seconds: float = 0.0


def handled_per_second(looks: Sequence[Look]) -> float:
    """The rate between the first and the last handled command.

    Commands show in whole commits, so counting begins with the first look that sees any, and what that one sees already is not
    counted. Where a single commit held everything, the time runs from the last look that saw none.
    Raises `ValueError` when there is no beginning or no end.
    """
    begin, end = _span(looks)
    return (end.handled - begin.handled) / (end.seconds - begin.seconds)


def cpu_microseconds_per_command(looks: Sequence[Look]) -> float:
    """What one command costs the process that handles it. Load on the machine moves it less than it moves a rate.

    Raises `ValueError` as `handled_per_second` does.
    """
    begin, end = _span(looks)
    return (end.cpu_seconds - begin.cpu_seconds) / (end.handled - begin.handled) * 1e6


def _span(looks: Sequence[Look]) -> tuple[Look, Look]:
    first = next((index for index, look in enumerate(looks) if look.handled > 0), None)
    if first is None:
        raise ValueError("no command was handled: there is no rate")
    if looks[first].handled < looks[-1].handled:
        return looks[first], looks[-1]
    if first == 0:
        raise ValueError("all commands were handled before the first look: there is no rate")
    return looks[first - 1], looks[first]


def median_of_ratios(pairs: Sequence[tuple[float, float]]) -> float:
    """The median of first / second over interleaved pairs: what the machine does to both at once cancels out in each."""
    return statistics.median(first / second for first, second in pairs)


def median(values: Sequence[float]) -> float | None:
    """The median, or None of nothing: what was not measured has no figure."""
    return statistics.median(values) if values else None
