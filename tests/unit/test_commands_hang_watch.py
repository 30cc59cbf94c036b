from __future__ import annotations

from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from eventsource.commands.hang_watch import HANGS_AFTER_SECONDS, HangWatch
from eventsource.commands.request import Request
from eventsource.log.headers import CommandHeaders
from eventsource.log.record import Record
from eventsource.testing import VirtualClock


class Handling:
    deciding: Request | None = None

    def begin(self, offset: int) -> None:
        record = Record("commands", 3, offset, 0, b"acc-1", b"", ())
        headers = CommandHeaders(f"c-{offset}", "open", "/t", 0)
        self.deciding = Request(record, headers, "acc-1", b"")


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def handling() -> Handling:
    return Handling()


@pytest.fixture
def watch(handling: Handling, clock: VirtualClock) -> HangWatch:
    return HangWatch(handling, "account", clock)


def test_a_command_that_hangs_is_told_of_once_with_its_place(
    handling: Handling, watch: HangWatch, clock: VirtualClock
) -> None:
    handling.begin(7)
    watch.look()
    clock.advance(timedelta(seconds=HANGS_AFTER_SECONDS - 1))
    with capture_logs() as logs:
        watch.look()
    assert logs == []
    clock.advance(timedelta(seconds=1))
    with capture_logs() as logs:
        watch.look()
        watch.look()
    (told,) = logs
    assert (told["event"], told["log_level"]) == ("command_hangs", "warning")
    assert (told["aggregate"], told["partition"], told["offset"]) == ("account", 3, 7)
    assert (told["aggregate_id"], told["command_id"], told["command"]) == ("acc-1", "c-7", "open")
    assert watch.seconds == HANGS_AFTER_SECONDS


def test_commands_that_follow_each_other_are_none_that_hangs(
    handling: Handling, watch: HangWatch, clock: VirtualClock
) -> None:
    with capture_logs() as logs:
        for offset in range(10):
            handling.begin(offset)
            watch.look()
            clock.advance(timedelta(seconds=HANGS_AFTER_SECONDS - 1))
    assert logs == []


def test_what_has_ended_hangs_no_more_even_before_the_next_look(
    handling: Handling, watch: HangWatch, clock: VirtualClock
) -> None:
    handling.begin(1)
    watch.look()
    clock.advance(timedelta(seconds=HANGS_AFTER_SECONDS))
    assert watch.seconds == HANGS_AFTER_SECONDS
    handling.begin(2)
    assert watch.seconds == 0
    handling.deciding = None
    assert watch.seconds == 0
    watch.look()
    assert watch.seconds == 0
