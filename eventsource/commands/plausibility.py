"""Whether a record in an events or outcomes topic can be the framework's own, as far as its key and headers show."""

from __future__ import annotations

from typing import Final

import structlog

from eventsource.commands.deduplication import CLOCK_SKEW_MS
from eventsource.errors import HeaderError
from eventsource.log.headers import MAX_COMMAND_ID_BYTES, EventHeaders, Origin, OutcomeHeaders
from eventsource.log.record import Record

_log = structlog.get_logger("eventsource.replay")

_MOST: Final = 1 << 63
_MOST_CODE_BYTES: Final = 0xFFFF
_MOST_LOGGED: Final = 5


class Plausibility:
    """For the records of one partition. What it lets pass can be kept in memory and store, and moves no offset too far.

    It refuses nothing that an owner may have written. The brokers' clocks are no reason, therefore: `newest_ms` bounds what they move.
    """

    def __init__(self, partition: int, commands_topic_id: bytes) -> None:
        self._partition = partition
        self._topic_id = commands_topic_id
        self.commands_end: int | None = None
        """The end of the commands topic's partition, asked for after that of the records: no command that caused one lies behind."""
        self.ahead = 0
        """How many records were appended more than `CLOCK_SKEW_MS` before their commands, by the brokers' clocks."""

    def check_event(self, record: Record, headers: EventHeaders) -> None:
        """Raises `HeaderError`."""
        if not 1 <= headers.index <= headers.count:
            raise HeaderError(f"{_place(record)}: an event {headers.index} of {headers.count}: {_ADVICE}")
        if not 1 <= headers.version < _MOST:
            raise HeaderError(f"{_place(record)}: an event of version {headers.version}: {_ADVICE}")
        self._check(record, headers.command_id, headers.origin, headers.time_ms)

    def check_outcome(self, record: Record, headers: OutcomeHeaders, version: int, code: str) -> None:
        """Raises `HeaderError`. `version` and `code` are the outcome's own."""
        if not 0 <= version < _MOST or len(code.encode()) > _MOST_CODE_BYTES:
            raise HeaderError(f"{_place(record)}: an outcome of version {version}, or of a long code: {_ADVICE}")
        self._check(record, headers.command_id, headers.origin, headers.time_ms)

    def newest_ms(self, record: Record, time_ms: int) -> int:
        """How far a record moves the newest command's time: not past its own, which is when a broker appended it.

        `time_ms` is the time of its command, by the clock of the broker that leads the commands partition.
        """
        if time_ms <= record.timestamp_ms:
            return time_ms
        if time_ms - record.timestamp_ms > CLOCK_SKEW_MS:
            self.ahead += 1
            if self.ahead <= _MOST_LOGGED:
                _log.warning(
                    "command_time_ahead",
                    topic=record.topic,
                    partition=record.partition,
                    offset=record.offset,
                    ahead_seconds=(time_ms - record.timestamp_ms) // 1_000,
                )
        return record.timestamp_ms

    def _check(self, record: Record, command_id: str, origin: Origin, time_ms: int) -> None:
        if not 0 < len(command_id.encode()) <= MAX_COMMAND_ID_BYTES:
            raise HeaderError(f"{_place(record)}: a command id of {len(command_id)} characters: {_ADVICE}")
        # No upper bound: the time is that of another broker's clock, which may be ahead of this record's broker by any amount.
        if time_ms < 0:
            raise HeaderError(f"{_place(record)}: its command's time is {time_ms} ms: {_ADVICE}")
        if origin.topic_id != self._topic_id:
            return
        end = self.commands_end
        if origin.partition != self._partition or origin.offset < 0 or (end is not None and origin.offset >= end):
            raise HeaderError(
                f"{_place(record)}: no command stands at partition {origin.partition}, offset {origin.offset}: {_ADVICE}"
            )


_ADVICE: Final = "only the framework may write here; find out who wrote it"


def _place(record: Record) -> str:
    return f"{record.topic}[{record.partition}]@{record.offset}"
