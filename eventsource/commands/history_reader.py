"""Reading one aggregate's events from the log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from eventsource.clock import Clock
from eventsource.commands.history import AggregateHistory
from eventsource.errors import ReadTimedOut
from eventsource.log.admin import LogAdmin, TopicAndPartition
from eventsource.log.reader import LogReader
from eventsource.log.record import Record

_READ_RECORDS: Final = 5_000
_READ_SECONDS: Final = 0.1


def read_history(
    history: AggregateHistory[Any],
    key: bytes,
    where: TopicAndPartition,
    client_config: Mapping[str, Any],
    *,
    admin: LogAdmin,
    timeout_seconds: float,
    clock: Clock,
) -> None:
    """Gives `history` all committed records under `key`, from the first of the partition to the end that it has now.

    The end counts open transactions: what is committed by now may stand behind one whose end the broker has not marked yet. So
    it waits for them, until the time-out: then it raises `ReadTimedOut`. Raises `BrokerUnavailable`, `TopicMissing`, and
    what `AggregateHistory.take` raises.
    """
    deadline = clock.monotonic() + timeout_seconds
    admin = admin.within(timeout_seconds)
    start = admin.first_offsets([where])[where]
    end = admin.end_offsets([where])[where]
    if start >= end:
        return
    with LogReader(client_config) as reader:
        reader.assign({where: start})
        for record in _records(reader, where, end, deadline, timeout_seconds, clock):
            if record.key == key:
                history.take(record)
        if not history.unfinished:
            return
        # The end fell into a command's events. Those are committed, so all of them stand below the end of now.
        end = admin.end_offsets([where])[where]
        for record in _records(reader, where, end, deadline, timeout_seconds, clock):
            if record.key == key:
                history.take(record)
            if not history.unfinished:
                return


def _records(
    reader: LogReader, where: TopicAndPartition, end: int, deadline: float, timeout_seconds: float, clock: Clock
) -> Iterator[Record]:
    # The position passes transaction markers, which no record shows: only it tells that the end was reached.
    while (position := reader.position(*where)) < end:
        left_seconds = deadline - clock.monotonic()
        if left_seconds <= 0:
            raise ReadTimedOut(
                f"{where[0]}[{where[1]}] was read up to offset {max(position, 0)} of {end} in {timeout_seconds:g} s: give it a longer "
                "timeout; if that offset stays the same, a worker's transaction is open there and the broker will end it"
            )
        yield from reader.read(_READ_RECORDS, min(_READ_SECONDS, left_seconds))
