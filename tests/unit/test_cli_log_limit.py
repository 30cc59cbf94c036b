from __future__ import annotations

from typing import Any

import pytest
import structlog

from eventsource.cli.log_limit import OneLineAMinute


class Lines:
    def __init__(self, *, debug: bool = False) -> None:
        self.seconds = 0.0
        self.limit = OneLineAMinute(debug=debug, monotonic=lambda: self.seconds)

    def write(self, method: str = "warning", **event: Any) -> Any:
        """The line as it is written, None where it is left out."""
        try:
            return self.limit(None, method, {"event": "e", **event})
        except structlog.DropEvent:
            return None


@pytest.fixture
def lines() -> Lines:
    return Lines()


def test_lines_about_the_same_are_one_a_minute_and_say_how_many_were_left_out(lines: Lines) -> None:
    assert lines.write(about="kafka") == {"event": "e", "about": "kafka"}
    written = []
    for second in range(1, 181):
        lines.seconds = float(second)
        written += [found for found in [lines.write(about="kafka")] if found is not None]
    assert [line["left_out"] for line in written] == [59, 59, 59]


def test_what_is_about_something_else_or_about_nothing_passes(lines: Lines) -> None:
    assert lines.write(about="kafka")
    assert lines.write(about="postgres")
    assert not lines.write(about="postgres")
    assert lines.write()
    assert lines.write()


def test_errors_pass(lines: Lines) -> None:
    assert lines.write("error", about="kafka")
    assert lines.write("error", about="kafka")
    assert lines.write("info", about="kafka")
    assert not lines.write("info", about="kafka")


def test_nothing_is_left_out_while_debugging() -> None:
    lines = Lines(debug=True)
    assert lines.write(about="kafka")
    assert lines.write(about="kafka")
