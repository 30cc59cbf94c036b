"""How long nobody answered, from the times of the answers."""

from __future__ import annotations

import pytest

from benchmarks.interruption import seconds_until_resumed


def test_it_lasts_until_the_first_answer_when_all_are_of_the_next_owner() -> None:
    assert seconds_until_resumed(10.0, [9.9, 9.98, 17.0, 17.01, 17.02]) == 7.0


def test_answers_that_an_ending_owner_still_gives_do_not_end_it() -> None:
    assert seconds_until_resumed(10.0, [10.02, 10.04, 12.5, 12.52]) == 2.5


def test_a_later_longer_silence_counts_in_full() -> None:
    assert seconds_until_resumed(10.0, [10.5, 10.6, 14.0, 14.1]) == 4.0


def test_the_order_of_the_answers_does_not_matter() -> None:
    assert seconds_until_resumed(0.0, [3.1, 3.0, -1.0]) == 3.0


def test_without_an_answer_it_has_not_ended() -> None:
    with pytest.raises(ValueError, match="nothing was answered"):
        seconds_until_resumed(10.0, [1.0, 9.0])
