"""Building a partition's memory from its events and outcomes, as they stand in the log."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import structlog

from eventsource.commands.aggregate_codecs import AggregateCodecs
from eventsource.commands.deduplication import Answer
from eventsource.commands.memory import PartitionMemory
from eventsource.commands.status import Outcome, Status
from eventsource.domain import Aggregate, Event
from eventsource.errors import DecodeError, ForkDetected, OffsetLost, UnknownFingerprint
from eventsource.log.events import event_headers_of
from eventsource.log.header_reading import read_outcome_headers
from eventsource.log.headers import EventHeaders, Origin
from eventsource.log.record import Record
from eventsource.settings import MAX_TRANSACTION_COMMANDS

_log = structlog.get_logger("eventsource.replay")


class PartitionReplay:
    """Folds the records of a partition's events and outcomes topics into its memory.

    Every event is checked: an aggregate with a gap, a repeat or an incomplete command in its history is stopped, and the others
    go on.
    """

    def __init__(
        self,
        aggregate: type[Aggregate[Any]],
        partition: int,
        memory: PartitionMemory,
        codecs: AggregateCodecs,
        commands_topic_id: bytes,
        on_events: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`on_events` is told how many more events were read, bit by bit."""
        self._memory = memory
        self._partition = partition
        self._name = aggregate.__definition__.name
        self._decoder = codecs.events
        self._outcomes = codecs.outcomes
        self._topic_id = commands_topic_id
        self._on_events = on_events
        self._unfinished: tuple[str, EventHeaders] | None = None
        self.events = 0
        """How many events were read."""

    def take_events(self, records: Sequence[Record]) -> None:
        """Takes the next records of the events topic.

        Raises `HeaderError` when one is not the framework's, `StateStoreFailed`, and `BrokerUnavailable` when a schema cannot be
        read just now; what was taken before that is kept, and the rest may be given again.
        """
        for some in self._portions(records):
            self._take_events(some)

    def _portions(self, records: Sequence[Record]) -> Iterator[Sequence[Record]]:
        """The records bit by bit, as many as memory may take; in between, memory is kept within its budget."""
        memory, start = self._memory, 0
        while start < len(records):
            end = start + memory.together
            some = records[start:end]
            ids = [record.key.decode(errors="replace") for record in some]
            memory.prefetch_aggregates(ids)
            yield some
            memory.note_replayed(ids)
            if memory.too_much_unsaved and self.between_commands:
                memory.save()
            else:
                memory.shrink()
            start = end

    def _take_events(self, records: Sequence[Record]) -> None:
        newest: tuple[int, EventHeaders] | None = None
        before = self.events
        try:
            for record in records:
                newest = record.offset, self._event(record)
        finally:
            if newest is not None:
                self._memory.position.newest_event = newest[0], newest[1].ce_id
            self._on_events(self.events - before)

    def _event(self, record: Record) -> EventHeaders:
        headers = event_headers_of(record)
        event: Event | str
        try:
            event = self._decoder.event(record, headers)
        except (DecodeError, UnknownFingerprint) as error:  # unknown only after the store waited for the fingerprint
            event = str(error)
        memory = self._memory
        aggregate_id = record.key.decode(errors="replace")
        self.events += 1
        self._note_origin(headers.origin)
        known = memory.known.find(headers.command_id) if headers.index > 1 else None
        if known is None or known.status is Status.ACCEPTED:  # not over the answer that half of it is missing
            memory.known.remember_accepted(
                headers.command_id, headers.body_hash, headers.version, record.offset, headers.time_ms
            )
        if headers.count != 1 or self._unfinished is not None:
            self._check_whole(aggregate_id, headers, record.offset)
        states = memory.states
        current = memory.find_aggregate(aggregate_id)
        expected = (current.version if current is not None else 0) + 1
        stopped = aggregate_id in states.stopped
        if not stopped and headers.version != expected:
            states.stop(
                aggregate_id,
                f"{self._name} {aggregate_id!r} is stopped: its log has a {'gap' if headers.version > expected else 'repeat'}: version "
                f"{headers.version} at offset {record.offset}, where {expected} was due; "
                f"inspect it with `eventsource events show {self._name} {aggregate_id}`",
            )
        elif isinstance(event, str):
            states.stop(aggregate_id, f"{self._name} {aggregate_id!r} is stopped: {event}")
        elif not stopped:
            states.replay(aggregate_id, event, headers.version, record.offset)
        memory.position.events = record.offset + 1
        return headers

    @property
    def between_commands(self) -> bool:
        """Whether no command's events have been read in part: only then may a state store take in what was replayed."""
        return self._unfinished is None

    def take_outcomes(self, records: Sequence[Record]) -> None:
        """Takes the next records of the outcomes topic. Raises as `take_events` does, and `DecodeError`."""
        for some in self._portions(records):
            for record in some:
                self._outcome(record)

    def _outcome(self, record: Record) -> None:
        headers = read_outcome_headers(record.headers)
        memory = self._memory
        self._note_origin(headers.origin)
        outcome = self._outcomes.decode(record.value or b"")
        try:
            status = Status(outcome.status)
        except ValueError:
            raise DecodeError(
                f"{record.topic}[{record.partition}]@{record.offset}: an outcome of status {outcome.status}, which this version does not "
                "know: upgrade the worker"
            ) from None
        memory.known.remember(
            headers.command_id,
            Answer(
                headers.body_hash,
                status,
                outcome.version,
                self._offset_of(record, outcome),
                -1,
                outcome.code,
                outcome.details,
            ),
            headers.time_ms,
        )
        memory.position.outcomes = record.offset + 1
        memory.position.newest_outcome = record.offset, headers.command_id

    def _offset_of(self, record: Record, outcome: Outcome) -> int:
        """The offset of the event that the aggregate's version comes from: the token of the first answer holds it."""
        if outcome.offset >= 0 or outcome.version == 0:
            return outcome.offset
        if outcome.newest_command:
            newest = self._memory.find_answer(outcome.newest_command)
            if newest is not None:
                return newest.offset
        # Written by a version before this one, or by an owner whose ids were forgotten since: the aggregate may have moved on.
        current = self._memory.find_aggregate(record.key.decode(errors="replace"))
        return current.offset if current is not None and current.version >= outcome.version else -1

    def finish(self) -> None:
        """To be called at the end: a command whose events are not all there stops its aggregate."""
        if self._unfinished is not None:
            aggregate_id, headers = self._unfinished
            self._unfinished = None
            self._stop_torn(aggregate_id, headers)

    def check_committed(self, committed: int | None, end: int) -> None:
        """Raises `OffsetLost` unless the group's committed offset agrees with what was handled.

        A torn transaction may leave it up to one batch behind, which deduplication heals; anything else would execute commands
        again, or skip some.
        """
        last = self._memory.position.last_origin
        partition = f"partition {self._partition} of {self._name}"
        mend = f"set it to {last + 1} with kafka-consumer-groups --reset-offsets"
        if committed is None and last >= 0:
            raise OffsetLost(
                f"{partition}: the owners' group has no committed offset, yet commands up to offset {last} were handled: {mend}"
            )
        if committed is not None and committed + MAX_TRANSACTION_COMMANDS <= last:
            raise OffsetLost(
                f"{partition}: the committed offset {committed} lies below {last}, the newest command that was handled: {mend}"
            )
        if committed is not None and committed > end:
            raise OffsetLost(
                f"{partition}: the committed offset {committed} lies past the end of the commands topic, {end}: commands were lost; "
                "find out how before going on"
            )
        if committed is not None and committed <= last:
            _log.warning(
                "offset_behind_log", aggregate=self._name, partition=self._partition, committed=committed, last=last
            )

    def _note_origin(self, origin: Origin) -> None:
        position = self._memory.position
        if origin.offset > position.last_origin and origin.topic_id == self._topic_id:
            position.last_origin = origin.offset

    def _check_whole(self, aggregate_id: str, headers: EventHeaders, offset: int) -> None:
        before, self._unfinished = self._unfinished, None
        if before is not None:
            before_id, before_headers = before
            if before_headers.command_id != headers.command_id or headers.index != before_headers.index + 1:
                self._stop_torn(before_id, before_headers)
        if (before is None or before[1].command_id != headers.command_id) and headers.index != 1:
            self._stop_incomplete(
                aggregate_id,
                headers,
                f"event {headers.index} of {headers.count} of command {headers.command_id} stands alone at offset {offset}",
            )
        if headers.index < headers.count:
            self._unfinished = aggregate_id, headers

    def _stop_torn(self, aggregate_id: str, headers: EventHeaders) -> None:
        self._stop_incomplete(
            aggregate_id,
            headers,
            f"only {headers.index} of {headers.count} events of command {headers.command_id} are in the log",
        )

    def _stop_incomplete(self, aggregate_id: str, headers: EventHeaders, what: str) -> None:
        reason = f"{self._name} {aggregate_id!r} is stopped: {what}; inspect it with `eventsource events show {self._name} {aggregate_id}`"
        self._memory.states.stop(aggregate_id, reason)
        # Half a command was not accepted, whoever asks again.
        self._memory.known.remember(
            headers.command_id,
            Answer(
                headers.body_hash,
                Status.FAILED,
                headers.version,
                -1,
                -1,
                ForkDetected.__name__,
                json.dumps({"message": reason}),
            ),
            headers.time_ms,
        )
