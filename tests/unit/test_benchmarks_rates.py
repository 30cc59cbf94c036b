"""Rates and ratios: what would make a slow side look fast."""

from __future__ import annotations

import pytest

from benchmarks.rates import Look, cpu_microseconds_per_command, handled_per_second, median, median_of_ratios


def looks(*seen: tuple[float, int]) -> list[Look]:
    return [Look(seconds, handled) for seconds, handled in seen]


def test_commands_of_the_first_commit_are_not_counted_as_handled_since_it() -> None:
    assert handled_per_second(looks((0.0, 0), (1.0, 0), (2.0, 100), (3.0, 200), (4.0, 300))) == 100.0


def test_the_time_before_the_first_commit_is_not_counted() -> None:
    assert handled_per_second(looks((0.0, 0), (50.0, 0), (60.0, 10), (61.0, 110))) == 100.0


def test_a_single_commit_counts_from_the_last_look_that_saw_nothing() -> None:
    assert handled_per_second(looks((0.0, 0), (4.0, 0), (5.0, 500))) == 500.0
    assert handled_per_second(looks((0.0, 0), (4.0, 0), (5.0, 500), (9.0, 500))) == 500.0


def test_looks_after_the_last_commit_do_count() -> None:
    # Whoever asks must stop looking when all is handled: idle time at the end is the side's own.
    assert handled_per_second(looks((0.0, 10), (1.0, 110), (2.0, 110))) == 50.0


@pytest.mark.parametrize("seen", [[], [(0.0, 0)], [(0.0, 0), (1.0, 0)], [(0.0, 500)], [(0.0, 500), (1.0, 500)]])
def test_without_a_beginning_there_is_no_rate(seen: list[tuple[float, int]]) -> None:
    with pytest.raises(ValueError, match="no rate"):
        handled_per_second(looks(*seen))


def test_cpu_time_counts_over_the_same_span_as_the_commands() -> None:
    seen = [Look(0.0, 0, 1.5), Look(1.0, 1_000, 2.0), Look(2.0, 2_000, 2.5), Look(3.0, 3_000, 3.0)]
    assert cpu_microseconds_per_command(seen) == 500.0


def test_the_ratio_is_the_median_of_the_pairs_and_not_the_ratio_of_medians() -> None:
    pairs = [(10.0, 100.0), (50.0, 10.0), (60.0, 60.0)]
    assert median_of_ratios(pairs) == 1.0  # the medians' ratio would be 50 / 60


def test_a_slow_moment_of_the_machine_that_hits_a_whole_pair_changes_nothing() -> None:
    quiet = [(100.0, 80.0), (100.0, 80.0), (100.0, 80.0)]
    disturbed = [(100.0, 80.0), (10.0, 8.0), (50.0, 40.0)]
    assert median_of_ratios(quiet) == median_of_ratios(disturbed) == 1.25


def test_what_was_not_measured_has_no_median() -> None:
    assert median([]) is None
    assert median([3.0, 1.0, 2.0]) == 2.0
