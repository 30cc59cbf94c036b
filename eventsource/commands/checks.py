"""Everything that may be wrong with a command before the domain sees it."""

from __future__ import annotations

from typing import Any, Final

from eventsource.commands.deduplication import CLOCK_SKEW_MS, Deduplication
from eventsource.commands.request import Request
from eventsource.commands.states import Current
from eventsource.commands.status import Status
from eventsource.domain.definition import AggregateDefinition
from eventsource.errors import HeaderError, MessageTooLarge
from eventsource.log.partitioner import partition_for
from eventsource.log.record import Record

_HOUR_MS: Final = 3_600_000


class Refused(Exception):
    # Control flow between the checks and the handling: never seen outside.

    def __init__(self, status: Status, code: str = "", details: dict[str, Any] | None = None) -> None:
        super().__init__(status)
        self.status, self.code, self.details = status, code, details


class CommandChecks:
    """For the commands of one partition of one aggregate."""

    def __init__(self, definition: AggregateDefinition[Any], partitions: int) -> None:
        self._definition = definition
        self._partitions = partitions
        self.refused: dict[int, str] = {}
        """Offsets of commands whose records a broker refuses, and why."""

    def check(self, request: Request, current: Current | None, known: Deduplication) -> None:
        """Raises `Refused`, and errors of the framework that fail the command."""
        record, headers = request.record, request.headers
        if request.error is not None:
            raise request.error
        if self.refused and record.offset in self.refused:
            raise MessageTooLarge(self.refused[record.offset])
        if current is None:  # one that is here is in the right place: no hash is computed for it
            self.check_routing(record)
        self._definition.check_id(request.aggregate_id)
        window_ms = known.window_ms
        if window_ms is not None:
            if known.is_expired(headers.sent_at_ms, record.timestamp_ms):
                raise Refused(Status.EXPIRED, details={"window_seconds": window_ms / 1_000})
            if headers.sent_at_ms - record.timestamp_ms > CLOCK_SKEW_MS:
                raise HeaderError(
                    f"sent_at lies {(headers.sent_at_ms - record.timestamp_ms) / _HOUR_MS:.1f} h after the broker's clock, so a "
                    "repetition could not be distinguished from a new command: set the sender's clock"
                )
        if headers.expected_version is not None:
            version = current.version if current is not None else 0
            if version != headers.expected_version:
                raise Refused(Status.VERSION_CONFLICT, details={"expected": headers.expected_version})

    def check_routing(self, record: Record) -> None:
        """Raises `HeaderError` for a key of another partition."""
        if not record.key or partition_for(record.key, self._partitions) != record.partition:
            raise HeaderError(
                f"key {record.key!r} does not belong to partition {record.partition} of {self._partitions}: "
                "the sender must compute it by murmur2, as docs/wire.md says"
            )
