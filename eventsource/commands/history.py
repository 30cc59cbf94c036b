"""One aggregate's events, folded up to a version or a time: what it was then."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, TypeVar

from eventsource.commands.loaded import Loaded
from eventsource.domain import Aggregate
from eventsource.errors import ForkDetected, InvalidArgument, LoadFailed, NotFound, VersionNotReached
from eventsource.log.events import EventDecoder, SequenceCheck, event_headers_of
from eventsource.log.headers import EventHeaders
from eventsource.log.record import Record
from eventsource.log.recorded import ms_from_time, time_from_ms
from eventsource.log.token import Token

A = TypeVar("A", bound=Aggregate[Any])


class AggregateHistory(Generic[A]):
    """Takes the records of one aggregate in the order of the log, from its first, and folds them up to `at_version` or `at_time`.

    What lies behind is not decoded, but checked like all else: a gap, a repeat or half a command anywhere is a `ForkDetected`.
    Raises `InvalidArgument` when both are given, `at_version` is no whole number from 1 upwards, or `at_time` no time with a zone.
    """

    def __init__(
        self,
        aggregate: type[A],
        aggregate_id: str,
        decoder: EventDecoder,
        *,
        at_version: int | None = None,
        at_time: datetime | None = None,
    ) -> None:
        if at_version is not None and at_time is not None:
            raise InvalidArgument("load takes at_version or at_time, not both: leave one of them out")
        if at_version is not None and (type(at_version) is not int or at_version < 1):
            raise InvalidArgument(f"at_version={at_version!r}: give the number of an event, from 1 upwards")
        if at_time is not None and not isinstance(at_time, datetime):
            raise InvalidArgument(f"at_time={at_time!r} is no datetime: give one with a time zone")
        if at_time is not None and at_time.utcoffset() is None:
            raise InvalidArgument(f"at_time={at_time} has no time zone: give an aware time")
        self._definition = aggregate.__definition__
        self._id = aggregate_id
        self._decoder = decoder
        self._at_version = at_version
        self._at_time = at_time
        self._until_ms = None if at_time is None else ms_from_time(at_time)
        self._check = SequenceCheck(complete=True)
        self._newest: EventHeaders | None = None
        self._state: A | None = None
        self._folded = 0
        self._folded_ms = 0
        self._place = 0, -1

    @property
    def time(self) -> datetime:
        """The time of the newest event that was folded."""
        return time_from_ms(self._folded_ms)

    @property
    def unfinished(self) -> bool:
        """Whether a command's events were read in part: the others stand behind, in the same transaction."""
        return self._newest is not None and self._newest.index < self._newest.count

    def take(self, record: Record) -> None:
        """Takes the aggregate's next record.

        Raises `ForkDetected`, `HeaderError`, `DecodeError`, `UnknownFingerprint`, and `LoadFailed` when the event cannot be applied.
        """
        headers = event_headers_of(record)
        self._check.check_version(self._definition.name, self._id, headers.version, record.partition, record.offset)
        self._check_whole(headers)
        self._newest = headers
        if self._is_wanted(headers):
            self._fold(record, headers)

    def _is_wanted(self, headers: EventHeaders) -> bool:
        if self._folded != headers.version - 1:
            return False  # an earlier one was not
        if self._at_version is not None:
            return headers.version <= self._at_version
        return self._until_ms is None or headers.time_ms <= self._until_ms

    def _fold(self, record: Record, headers: EventHeaders) -> None:
        event = self._decoder.event(record, headers)
        try:
            self._state = self._definition.evolve(self._state, event)
        except Exception as error:
            raise LoadFailed(
                headers.command_id,
                self._definition.name,
                self._id,
                type(error).__name__,
                f"event {event.message_name!r} (version {headers.version}, offset {record.offset}) cannot be applied: {error}; mend the "
                "handler",
            ) from error
        self._folded = headers.version
        self._folded_ms = headers.time_ms
        self._place = record.partition, record.offset

    def _check_whole(self, headers: EventHeaders) -> None:
        before = self._newest
        if before is not None and before.index < before.count:
            torn, whole = before, (headers.command_id, headers.index) == (before.command_id, before.index + 1)
        else:
            torn, whole = headers, headers.index == 1
        if not whole:
            raise self._incomplete(torn)

    def _incomplete(self, headers: EventHeaders) -> ForkDetected:
        name = self._definition.name
        return ForkDetected(
            f"{name} {self._id!r}: of the {headers.count} events of command {headers.command_id} only some are there, such as version "
            f"{headers.version}; stop writing to it and inspect it with `eventsource events show {name} {self._id}`"
        )

    def loaded(self, events_topic_id: bytes) -> Loaded[A]:
        """The aggregate as it was, once all its records were taken.

        Raises `NotFound` when it did not exist, `VersionNotReached`, and `ForkDetected` when the last command is incomplete.
        """
        if self._newest is None:
            raise NotFound(self._definition.name, self._id)
        if self.unfinished:
            raise self._incomplete(self._newest)
        if self._at_version is not None and self._newest.version < self._at_version:
            raise VersionNotReached(self._id, self._at_version, self._newest.version)
        if self._state is None:
            raise NotFound(self._definition.name, self._id, self._at_time)
        partition, offset = self._place
        return Loaded(self._state, self._folded, Token(events_topic_id, partition, offset, self._id, self._folded))
