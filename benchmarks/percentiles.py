"""Percentiles by nearest rank: always a value that was measured, never one between two."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

PERCENTS: Final = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9}


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value of an ascending sequence that at least `percent` of all values do not exceed.

    Raises `ValueError` when it is empty, or `percent` is not above 0 and at most 100.
    """
    if not ordered:
        raise ValueError("nothing was measured: there is no percentile")
    if not 0 < percent <= 100:
        raise ValueError(f"{percent} is no percentage above 0 and at most 100")
    # Rounded, so that 99.9 % of 41,000 is the 40,959th value and not, by a bit of a float, the 40,960th.
    return ordered[math.ceil(round(len(ordered) * percent / 100, 9)) - 1]


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """The usual ones of unordered values, under the names `p50`, `p90`, `p99` and `p999`."""
    ordered = sorted(values)
    return {name: percentile(ordered, percent) for name, percent in PERCENTS.items()}
