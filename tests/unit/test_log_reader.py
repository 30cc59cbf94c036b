from __future__ import annotations

import pytest

from eventsource.errors import BrokerUnavailable
from eventsource.log.reader import LogReader
from eventsource.log.record import Record


class ScriptedReader(LogReader):
    """One partition, whose reads give these records and leave the position there. No broker. Each read takes a second."""

    def __init__(self, *reads: tuple[list[int], int]) -> None:
        self._reads = list(reads)
        self._position = -1001  # librdkafka's, before anything was read
        self.seconds = 0.0

    def read(self, max_records: int, timeout_seconds: float) -> list[Record]:
        self.seconds += 1
        offsets, self._position = self._reads.pop(0) if self._reads else ([], self._position)
        return [Record("t", 0, offset, 0, b"k", b"v") for offset in offsets]

    def position(self, topic: str, partition: int) -> int:
        return self._position

    def offsets(self, end: int, patience_seconds: float = 3) -> list[int]:
        read = self.read_to({("t", 0): end}, patience_seconds=patience_seconds, monotonic=lambda: self.seconds)
        return [record.offset for records in read for record in records]


def test_reading_to_an_end_passes_what_no_record_shows() -> None:
    assert ScriptedReader(([0, 1], 2), ([], 3), ([4], 5), ([], 9)).offsets(9) == [0, 1, 4]


def test_reading_to_an_end_gives_nothing_beyond_it() -> None:
    assert ScriptedReader(([0, 1, 2, 3], 4)).offsets(2) == [0, 1]


def test_reading_to_an_end_is_patient_while_anything_moves() -> None:
    slow = [([], -1001), ([], -1001), ([], -1001), ([0], 1), ([], 1), ([], 1), ([], 1), ([], 2)]
    assert ScriptedReader(*slow).offsets(2) == [0]


def test_reading_to_an_end_that_stands_still_is_given_up() -> None:
    reader = ScriptedReader(([0], 1))
    with pytest.raises(BrokerUnavailable, match=r"t\[0\] could not be read to its end 3: the reader stands at 1"):
        reader.offsets(3)
    assert reader.seconds == 5
