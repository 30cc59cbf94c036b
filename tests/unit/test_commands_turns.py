from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from eventsource.commands.turns import PATIENCE_SECONDS, Turn, Turns

SECONDS = 10.0
TOGETHER = 250
LONGEST_PART_SECONDS = PATIENCE_SECONDS + 0.25  # of 250 commands


class Owner:
    """Takes its turn in a thread of its own, and keeps it until it is told to leave."""

    def __init__(self, turns: Turns, name: str, commands: int, order: list[str]) -> None:
        self.turn = Turn(turns)
        self.handling = threading.Event()
        self._end = threading.Event()
        self._name, self._commands, self._order = name, commands, order
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self.turn.take(self._commands, TOGETHER)
        self._order.append(self._name)
        self.handling.set()
        self._end.wait(SECONDS)
        self.turn.leave()

    def leave(self) -> None:
        self._end.set()
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not come to that in time"
        time.sleep(0.001)


@pytest.fixture
def clock() -> list[float]:
    return [0.0]


@pytest.fixture
def turns(clock: list[float]) -> Turns:
    """Where nobody moves the clock, nobody is waited for too long, and all arrive together."""
    return Turns(lambda: clock[0])


def one_that_overstays(turns: Turns, clock: list[float], commands: int) -> Turn:
    slow = Turn(turns)
    slow.take(commands, TOGETHER)
    clock[0] += LONGEST_PART_SECONDS + 0.001
    return slow


def waiting(turns: Turns, owners: int) -> Callable[[], bool]:
    return lambda: turns.waiting == owners


def test_a_turn_that_nobody_has_is_taken_at_once(turns: Turns) -> None:
    turn = Turn(turns)
    turn.take(1, TOGETHER)
    turn.leave()
    turn.take(5_000, TOGETHER)
    turn.go_on(2_500, TOGETHER)
    turn.leave()


def test_to_leave_without_a_turn_takes_nobody_elses(turns: Turns) -> None:
    order: list[str] = []
    first = Owner(turns, "first", 10, order)
    until(first.handling.is_set)
    second = Owner(turns, "second", 10, order)
    until(waiting(turns, 1))
    Turn(turns).leave()
    assert not second.handling.is_set()
    first.leave()
    until(second.handling.is_set)
    second.leave()


def test_the_shortest_batch_is_next_and_equal_ones_follow_as_they_came(turns: Turns) -> None:
    order: list[str] = []
    first = Owner(turns, "first", 5_000, order)
    until(first.handling.is_set)
    owners = []
    for name, commands in (("long", 5_000), ("longer", 5_001), ("long too", 5_000), ("lone", 1)):
        owners.append(Owner(turns, name, commands, order))
        until(waiting(turns, len(owners)))
    assert order == ["first"]
    first.leave()
    for owner in (owners[3], owners[0], owners[2], owners[1]):
        until(owner.handling.is_set)
        owner.leave()
    assert order == ["first", "lone", "long", "long too", "longer"]


def test_between_parts_a_shorter_batch_goes_first_and_a_longer_one_does_not(turns: Turns) -> None:
    order: list[str] = []
    turn = Turn(turns)
    turn.take(5_000, TOGETHER)
    long = Owner(turns, "long", 5_000, order)
    until(waiting(turns, 1))
    turn.go_on(4_750, TOGETHER)
    assert order == []
    lone = Owner(turns, "lone", 1, order)
    until(waiting(turns, 2))
    holder = threading.Thread(target=turn.go_on, args=(4_500, TOGETHER))
    holder.start()
    until(lone.handling.is_set)
    assert holder.is_alive()
    lone.leave()
    holder.join(SECONDS)
    assert not holder.is_alive()
    assert order == ["lone"]
    turn.leave()
    until(long.handling.is_set)
    long.leave()


def test_a_batch_that_waited_is_not_passed_by_for_ever(clock: list[float]) -> None:
    turns = Turns(lambda: clock[0], patience_seconds=60.0)
    order: list[str] = []
    turn = Turn(turns)
    turn.take(1, TOGETHER)
    long = Owner(turns, "long", 5_000, order)
    until(waiting(turns, 1))
    clock[0] = 1.0  # more than the half second that 5,000 commands may be passed by
    lone = Owner(turns, "lone", 1, order)
    until(waiting(turns, 2))
    turn.leave()
    until(long.handling.is_set)
    long.leave()
    until(lone.handling.is_set)
    lone.leave()
    assert order == ["long", "lone"]


def test_one_that_hangs_is_waited_for_no_longer_than_the_patience() -> None:
    turns = Turns(time.monotonic)
    order: list[str] = []
    hanging = Turn(turns)
    hanging.take(5_000, TOGETHER)
    second = Owner(turns, "second", 5_000, order)
    until(second.handling.is_set)
    assert turns.holder is second.turn
    hanging.leave()
    assert turns.holder is second.turn  # it does not end the turn of the one that passed
    second.leave()
    assert turns.holder is None


def test_a_sign_of_life_gives_the_next_part_its_own_time(turns: Turns, clock: list[float]) -> None:
    turn = Turn(turns)
    turn.take(5_000, TOGETHER)
    clock[0] += LONGEST_PART_SECONDS - 0.001
    turn.go_on(4_750, TOGETHER)
    second = Owner(turns, "second", 5_000, [])
    clock[0] += LONGEST_PART_SECONDS - 0.001
    until(waiting(turns, 1))
    assert not second.handling.wait(0.05)
    clock[0] += 0.002
    until(second.handling.is_set)
    turn.leave()
    second.leave()


def test_one_that_overstays_goes_on_without_a_turn_until_a_part_takes_no_longer_than_it_may(
    turns: Turns, clock: list[float]
) -> None:
    slow = one_that_overstays(turns, clock, 750)
    other = Owner(turns, "other", 250, [])
    until(other.handling.is_set)
    slow.go_on(500, TOGETHER)  # the other one has the turn, and is not waited for
    assert turns.holder is other.turn
    assert turns.waiting == 0
    clock[0] += LONGEST_PART_SECONDS - 0.001
    quick_again = threading.Thread(target=slow.go_on, args=(250, TOGETHER))
    quick_again.start()
    until(waiting(turns, 1))
    assert quick_again.is_alive()
    other.leave()
    quick_again.join(SECONDS)
    assert not quick_again.is_alive()
    assert turns.holder is slow
    slow.leave()
    assert turns.holder is None


def test_one_whose_batch_overstayed_hands_the_turn_on_and_begins_its_next_beside_the_others(
    turns: Turns, clock: list[float]
) -> None:
    slow = one_that_overstays(turns, clock, 1)
    slow.leave()
    assert slow.overstays
    assert turns.holder is None
    slow.take(1, TOGETHER)
    assert turns.holder is None
    other = Turn(turns)
    other.take(1, TOGETHER)
    assert turns.holder is other
    slow.leave()
    assert turns.holder is other
    assert not slow.overstays
    other.leave()


def test_one_that_overstayed_alone_holds_up_nobody_who_comes_later(turns: Turns, clock: list[float]) -> None:
    slow = one_that_overstays(turns, clock, 500)
    slow.go_on(250, TOGETHER)
    assert turns.holder is None
    slow.leave()


def test_a_large_part_may_take_longer_than_a_small_one() -> None:
    turns = Turns(lambda: 0.0, patience_seconds=0.01)
    turn = Turn(turns)
    turn.take(10, TOGETHER)
    assert turn.patience_seconds == pytest.approx(0.02)
    turn.go_on(5_000, TOGETHER)
    assert turn.patience_seconds == pytest.approx(0.26)
    turn.leave()
