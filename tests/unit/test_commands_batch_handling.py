"""Batches part by part: whose turn it is, and whose time is counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from eventsource.commands.batch_handling import BatchHandling
from eventsource.commands.handled import Handled
from eventsource.commands.handling import CommandHandling
from eventsource.commands.turns import Turn
from eventsource.log.record import Record
from eventsource.log.transactions import Transaction

COMMANDS = 600  # in three parts


class StillTurn:
    """Notes what is asked of it; every wait between parts takes `wait_seconds`."""

    def __init__(self, now: list[float], wait_seconds: float = 0.0) -> None:
        self.calls: list[tuple[str, int, int]] = []
        self.in_wait: Callable[[], None] = lambda: None
        self._now, self._wait_seconds = now, wait_seconds

    def take(self, commands: int, together: int) -> None:
        self.calls.append(("take", commands, together))

    def go_on(self, commands_left: int, together: int) -> None:
        self.calls.append(("go on", commands_left, together))
        self._now[0] += self._wait_seconds
        self.in_wait()

    def leave(self) -> None:
        self.calls.append(("leave", 0, 0))


class FakeMemory:
    together = 5_000
    batch_is_large = False


class FakeHandling:
    """Every part takes `part_seconds`."""

    def __init__(self, now: list[float], part_seconds: float) -> None:
        self.memory = FakeMemory()
        self.interrupted = 0
        self.fails = False
        self._now, self._part_seconds = now, part_seconds

    def handle(self, batch: list[Record], handled: Handled) -> None:
        if self.fails:
            raise RuntimeError("no")
        self._now[0] += self._part_seconds
        handled.next_offset = batch[-1].offset + 1

    def interrupt(self) -> None:
        self.interrupted += 1


class FakeTransaction:
    def __init__(self) -> None:
        self.parts = 0

    def produce(self, _records: object) -> None:
        self.parts += 1


class Setup:
    def __init__(self, *, part_seconds: float, wait_seconds: float = 0.0) -> None:
        self.now = [100.0]
        self.turn = StillTurn(self.now, wait_seconds)
        self.handling = FakeHandling(self.now, part_seconds)
        self.transaction = FakeTransaction()
        self.batches = BatchHandling(
            cast("CommandHandling", self.handling), cast("Turn", self.turn), lambda: self.now[0]
        )

    def handle(self) -> list[Record]:
        records: Any = [Offset(offset) for offset in range(COMMANDS)]
        return self.batches.handle(records, cast("Transaction", self.transaction), Handled())


class Offset:
    def __init__(self, offset: int) -> None:
        self.offset = offset


def test_a_batch_is_handled_in_parts_each_in_its_turn() -> None:
    setup = Setup(part_seconds=0.01)
    assert setup.handle() == []
    assert setup.turn.calls == [("take", 600, 250), ("go on", 350, 250), ("go on", 100, 250), ("leave", 0, 0)]
    assert setup.transaction.parts == 3


def test_the_turn_is_left_whatever_is_raised() -> None:
    setup = Setup(part_seconds=0.01)
    setup.handling.fails = True
    with pytest.raises(RuntimeError):
        setup.handle()
    assert setup.turn.calls[-1] == ("leave", 0, 0)


def test_waits_between_parts_are_no_handling() -> None:
    setup = Setup(part_seconds=0.01, wait_seconds=0.3)
    setup.handle()
    assert setup.batches.seconds == pytest.approx(0.03)


def test_a_batch_that_waits_is_not_ended_as_one_of_slow_commands() -> None:
    setup = Setup(part_seconds=0.01, wait_seconds=1.2)
    setup.turn.in_wait = setup.batches.look
    setup.handle()
    setup.batches.look()
    assert setup.handling.interrupted == 0


def test_a_batch_of_slow_commands_is_ended_and_the_rest_waits() -> None:
    setup = Setup(part_seconds=1.1)
    left = setup.handle()
    assert [record.offset for record in left] == list(range(250, 600))

    def look_in_the_middle(batch: list[Record], handled: Handled) -> None:
        setup.now[0] += 1.1
        setup.batches.look()
        handled.next_offset = batch[-1].offset + 1

    setup.handling.handle = look_in_the_middle  # type: ignore[method-assign]
    setup.handle()
    assert setup.handling.interrupted == 1


def test_a_batch_whose_transaction_is_open_for_long_is_cut_even_if_it_only_waited() -> None:
    setup = Setup(part_seconds=0.01, wait_seconds=1.1)
    left = setup.handle()
    assert [record.offset for record in left] == list(range(500, 600))
