from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from eventsource.commands.take_overs import TakeOvers, number_ranges


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([], ""), ([3], "3"), ([7, 0, 1, 2], "0-2, 7"), ([1, 0, 3, 2, 1], "0-3"), ([0, 2, 4], "0, 2, 4")],
)
def test_numbers_are_written_as_ranges(numbers: list[int], text: str) -> None:
    assert number_ranges(numbers) == text


def test_take_overs_that_go_on_together_are_one_line() -> None:
    seconds = [0.0]
    take_overs = TakeOvers(lambda: seconds[0])
    with capture_logs() as logs:
        with take_overs.under_way(), take_overs.under_way():
            take_overs.note("account", 1, 10, 0.5)
            seconds[0] = 5.0
            take_overs.report()
            take_overs.note("account", 0, 5, 0.25)
            take_overs.note("order", 3, 0, 2.0)
        take_overs.report()
        assert not logs, "another may begin right now"
        seconds[0] = 5.5
        take_overs.report()
        take_overs.report()
    assert logs == [
        {
            "event": "partitions_taken_over",
            "log_level": "info",
            "count": 3,
            "partitions": {"account": "0-1", "order": "3"},
            "events": 15,
            "longest_seconds": 2.0,
        }
    ]


def test_one_long_take_over_does_not_keep_the_others_from_being_reported() -> None:
    seconds = [0.0]
    take_overs = TakeOvers(lambda: seconds[0])
    with capture_logs() as logs, take_overs.under_way():
        take_overs.note("account", 1, 10, 0.5)
        seconds[0] = 9.9
        take_overs.report()
        assert not logs
        seconds[0] = 10.0
        take_overs.report()
    assert len(logs) == 1


def test_what_is_left_is_reported_at_the_end() -> None:
    take_overs = TakeOvers(lambda: 0.0)
    with capture_logs() as logs, take_overs.under_way():
        take_overs.note("account", 1, 10, 0.5)
        take_overs.report(at_once=True)
    assert len(logs) == 1
