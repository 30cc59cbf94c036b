"""The trend of a worker's memory."""

from __future__ import annotations

import pytest

from benchmarks.resident import slope_per_hour


def test_a_megabyte_a_minute_is_sixty_an_hour() -> None:
    assert slope_per_hour([(0.0, 100.0), (60.0, 101.0), (120.0, 102.0)]) == pytest.approx(60.0)


def test_memory_that_goes_up_and_down_has_no_slope() -> None:
    assert slope_per_hour([(0.0, 100.0), (1.0, 108.0), (2.0, 108.0), (3.0, 100.0)]) == pytest.approx(0.0)


def test_a_leak_is_seen_below_the_noise_of_single_samples() -> None:
    noisy = [(float(second), 100.0 + second / 360.0 + (5.0 if second % 2 else -5.0)) for second in range(3_600)]
    assert slope_per_hour(noisy) == pytest.approx(10.0, abs=0.1)


@pytest.mark.parametrize("samples", [[], [(1.0, 2.0)], [(1.0, 2.0), (1.0, 3.0)]])
def test_a_trend_needs_two_moments(samples: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="trend"):
        slope_per_hour(samples)
