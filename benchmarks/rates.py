"""Arithmetic of rates and pairs. Pure: what could lie has its own tests."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def handled_per_second(samples: Sequence[tuple[float, int]]) -> float:
    """The rate between the first and the last handled command, from samples of (seconds, commands handled so far).

    Commands show in whole commits, so counting begins with the first sample that is not zero, and what that one holds already
    is not counted. Where a single commit held everything, the time runs from the last sample without any.
    Raises `ValueError` when nothing was handled.
    """
    first = next((index for index, (_, handled) in enumerate(samples) if handled > 0), None)
    if first is None:
        raise ValueError("no command was handled: there is no rate")
    end_seconds, end = samples[-1]
    begin_seconds, begin = samples[first]
    if begin == end:
        if first == 0:
            raise ValueError("all commands were handled before the first look: there is no rate")
        begin_seconds, begin = samples[first - 1]
        end_seconds = samples[first][0]
    return (end - begin) / (end_seconds - begin_seconds)


def median_of_ratios(pairs: Sequence[tuple[float, float]]) -> float:
    """The median of first / second over interleaved pairs: what the machine does to both at once cancels out in each."""
    return statistics.median(first / second for first, second in pairs)


def median(values: Sequence[float]) -> float | None:
    """The median, or None of nothing: what was not measured has no figure."""
    return statistics.median(values) if values else None
