"""How far one aggregate's history is read, and how long; the log is a script."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Self

import pytest

from eventsource.commands import history_reader
from eventsource.commands.history_reader import read_history
from eventsource.errors import ReadTimedOut
from eventsource.log.record import Record
from eventsource.testing import VirtualClock

WHERE = ("bank.account.events", 0)


class History:
    """Takes offsets. Those in `commands` are commands of several events, by the offset of the first."""

    def __init__(self, commands: Mapping[int, int] | None = None) -> None:
        self.taken: list[int] = []
        self._commands = commands or {}
        self._missing = 0

    @property
    def unfinished(self) -> bool:
        return self._missing > 0

    def take(self, record: Record) -> None:
        self.taken.append(record.offset)
        self._missing = self._missing - 1 if self._missing else self._commands.get(record.offset, 1) - 1


class Log:
    """Stands for the broker: its end whenever it is asked, and what each read returns."""

    def __init__(self, ends: list[int], reads: list[list[int]], *, first: int = 0) -> None:
        self.clock = VirtualClock()
        self._ends = ends
        self._reads = reads
        self._first = first
        self._position = -1001

    def within(self, seconds: float) -> Self:
        return self

    def first_offsets(self, partitions: list[Any]) -> dict[Any, int]:
        return {WHERE: self._first}

    def end_offsets(self, partitions: list[Any]) -> dict[Any, int]:
        return {WHERE: self._ends.pop(0)}

    def assign(self, offsets: Mapping[Any, int]) -> None:
        assert offsets == {WHERE: self._first}

    def position(self, topic: str, partition: int) -> int:
        return self._position

    def read(self, max_records: int, timeout_seconds: float) -> list[Record]:
        if not self._reads:
            self.clock.advance(timedelta(seconds=timeout_seconds))
            return []
        offsets = self._reads.pop(0)
        self._position = offsets[-1] + 1
        return [Record(*WHERE, offset, 0, b"acc-1" if offset % 10 else b"acc-2", b"") for offset in offsets]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Callable[[History, Log], list[int]]:
    def run(history: History, log: Log) -> list[int]:
        monkeypatch.setattr(history_reader, "LogReader", lambda *_: log)
        taken: Any = history
        admin: Any = log
        read_history(taken, b"acc-1", WHERE, {}, admin=admin, timeout_seconds=5, clock=log.clock)
        return history.taken

    return run


Read = Callable[[History, Log], list[int]]


def test_it_reads_one_aggregate_to_the_end_that_was_there(read: Read) -> None:
    assert read(History(), Log([13], [[1, 2, 10], [11, 12], [13, 14]])) == [1, 2, 11, 12]


def test_an_empty_partition_is_not_read(read: Read) -> None:
    assert read(History(), Log([7], [], first=7)) == []


def test_a_command_that_the_end_fell_into_is_read_whole_and_no_further(read: Read) -> None:
    assert read(History({12: 3}), Log([13, 30], [[11, 12], [13, 14, 15, 16]])) == [11, 12, 13, 14]


def test_a_command_that_is_not_whole_in_the_log_is_not_waited_for(read: Read) -> None:
    history = History({12: 3})
    assert read(history, Log([13, 13], [[11, 12]])) == [11, 12]
    assert history.unfinished


@pytest.mark.parametrize(("reads", "position"), [([], 0), ([[1, 2]], 3)])
def test_what_an_open_transaction_holds_back_is_not_waited_for_longer_than_allowed(
    read: Read, reads: list[list[int]], position: int
) -> None:
    with pytest.raises(ReadTimedOut, match=rf"bank.account.events\[0\] was read up to offset {position} of 13 in 5 s"):
        read(History(), Log([13], reads))
