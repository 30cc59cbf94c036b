"""The delivery reports of a transaction: which records arrived, and where."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from confluent_kafka import KafkaError, Message

from eventsource.errors import RecordRefused, TransactionAborted
from eventsource.log.kafka_errors import TOO_LARGE

_ALL_REPORTED: Final = 64
_ONE_REPORTED_IN: Final = 256


class Deliveries:
    """The delivery reports of a transaction's records in one topic.

    Of many records, some are reported: each report takes Python's global lock anew, for which the other owners queue too. A
    record that fails unreported fails the commit all the same. In between, offsets are counted back from the next report, since
    an idempotent producer's records stand in a partition in the order in which they were produced.
    """

    def __init__(self, *, all_reported: bool = False) -> None:
        """With `all_reported` every record is: whatever a broker refuses is then told with its reason."""
        self._all_reported = all_reported
        self._produced = 0
        self._asked: list[int] = []
        self._reported: dict[int, int] = {}
        self._error: KafkaError | None = None

    def next_listener(self) -> Callable[[KafkaError | None, Message], None] | None:
        """What to produce the next record with; None: it need not be reported."""
        index = self._produced
        if index >= _ALL_REPORTED and index % _ONE_REPORTED_IN and not self._all_reported:
            self._produced = index + 1
            return None
        return self.last_listener()

    def last_listener(self) -> Callable[[KafkaError | None, Message], None]:
        """What to produce the last record with."""
        index = self._produced
        self._produced = index + 1
        self._asked.append(index)

        def report(error: KafkaError | None, message: Message) -> None:
            if error is None:
                self._reported[index] = message.offset()  # type: ignore[assignment]  # what was delivered has an offset
            else:
                self._error = self._error or error

        return report

    @property
    def first(self) -> int:
        """The offset of the first record."""
        return self._reported[0]

    @property
    def last(self) -> int:
        """The offset of the last record."""
        return self._reported[self._asked[-1]]

    def check(self) -> None:
        """Raises `TransactionAborted` if a record was not delivered."""
        if self._error is not None:
            kind = RecordRefused if self._error.code() in TOO_LARGE else TransactionAborted
            raise kind(f"a record was not delivered ({self._error.str()}), so its whole transaction was aborted")
        if len(self._reported) != len(self._asked):
            raise TransactionAborted("not every record was delivered in time, so the whole transaction was aborted")

    def offsets(self) -> Iterator[int]:
        """The offsets of all records, in order."""
        done = 0
        for index in self._asked:
            offset = self._reported[index]
            yield from range(offset - (index - done), offset + 1)
            done = index + 1
