"""Percentiles by nearest rank."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.percentiles import PERCENTS, percentile, percentiles


@pytest.mark.parametrize(
    ("percent", "expected"), [(0.1, 1), (1, 1), (50, 50), (90, 90), (99, 99), (99.1, 100), (99.9, 100), (100, 100)]
)
def test_the_percentiles_of_1_to_100(percent: float, expected: int) -> None:
    assert percentile(range(1, 101), percent) == expected


def test_a_rank_that_is_whole_is_not_pushed_up_by_a_float() -> None:
    # 41,000 · 99.9 / 100 is a little more than 40,959 in floats.
    assert percentile(range(1, 41_001), 99.9) == 40_959
    assert percentile(range(1, 1_001), 99.9) == 999


def test_one_slow_answer_in_a_thousand_is_seen_above_p999_alone() -> None:
    values = [1.0] * 999 + [5_000.0]
    found = percentiles(values)
    assert found == {"p50": 1.0, "p90": 1.0, "p99": 1.0, "p999": 1.0}
    assert percentiles([1.0] * 998 + [5_000.0] * 2)["p999"] == 5_000.0


def test_the_order_of_the_values_does_not_matter() -> None:
    assert percentiles([3.0, 1.0, 2.0])["p50"] == 2.0


@pytest.mark.parametrize(("values", "percent"), [([], 50.0), ([1.0], 0.0), ([1.0], 100.1)])
def test_there_is_no_percentile_of_nothing_nor_beyond_all(values: list[float], percent: float) -> None:
    with pytest.raises(ValueError, match="percent"):
        percentile(values, percent)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.sampled_from(list(PERCENTS.values())))
def test_it_is_the_least_value_that_so_many_do_not_exceed(values: list[float], percent: float) -> None:
    found = percentile(sorted(values), percent)
    needed = len(values) * percent / 100
    assert sum(value <= found for value in values) >= needed - 1e-6
    assert sum(value < found for value in values) < needed
