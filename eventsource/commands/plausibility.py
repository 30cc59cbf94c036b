"""Whether a record in an events or outcomes topic can be the framework's own, as far as its key and headers show."""

from __future__ import annotations

from typing import Final

from eventsource.commands.deduplication import CLOCK_SKEW_MS
from eventsource.errors import HeaderError
from eventsource.log.headers import MAX_COMMAND_ID_BYTES, EventHeaders, Origin, OutcomeHeaders
from eventsource.log.record import Record

_MOST: Final = 1 << 63
_MOST_CODE_BYTES: Final = 0xFFFF


class Plausibility:
    """For the records of one partition. What it lets pass can be kept in memory and store, and moves no clock and no offset too far."""

    def __init__(self, partition: int, commands_topic_id: bytes) -> None:
        self._partition = partition
        self._topic_id = commands_topic_id
        self.commands_end: int | None = None
        """The end of the commands topic's partition, asked for after that of the records: no command that caused one lies behind."""

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

    def _check(self, record: Record, command_id: str, origin: Origin, time_ms: int) -> None:
        if not 0 < len(command_id.encode()) <= MAX_COMMAND_ID_BYTES:
            raise HeaderError(f"{_place(record)}: a command id of {len(command_id)} characters: {_ADVICE}")
        # The time is that of the command, which was appended before; the brokers' clocks may differ a little.
        if not 0 <= time_ms <= record.timestamp_ms + CLOCK_SKEW_MS:
            raise HeaderError(f"{_place(record)}: it is older than its command: {_ADVICE}")
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
