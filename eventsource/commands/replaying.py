"""Building a partition's memory from its events and outcomes, as they stand in the log."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import structlog

from eventsource.commands.aggregate_codecs import AggregateCodecs
from eventsource.commands.deduplication import Answer
from eventsource.commands.memory import PartitionMemory
from eventsource.commands.plausibility import Plausibility
from eventsource.commands.states import WHOLE_PARTITION
from eventsource.commands.status import Outcome, Status
from eventsource.domain import Aggregate, Event
from eventsource.errors import (
    DecodeError,
    EventSourceError,
    ForkDetected,
    HeaderError,
    OffsetLost,
    SchemaError,
    StateStoreFull,
    UnknownFingerprint,
)
from eventsource.log.events import event_headers_of
from eventsource.log.header_reading import read_outcome_headers
from eventsource.log.headers import EventHeaders, Origin
from eventsource.log.partitioner import partition_for
from eventsource.log.record import Record
from eventsource.settings import MAX_TRANSACTION_COMMANDS

_log = structlog.get_logger("eventsource.replay")

_MOST_LOGGED: Final = 5
_LONGEST_COMMAND: Final = 10_000
"""How far apart in the log two events of one command may stand, at most, where others wrote in between."""


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
        *,
        partitions: int | None = None,
        on_foreign: Callable[[Record, str], None] = lambda _, __: None,
    ) -> None:
        """`on_events` is called with how many more events were read, bit by bit; `on_foreign` with each record that cannot be the
        framework's, and why. `partitions`: how many the topic has, where events under keys of other partitions stop their aggregate.
        """
        self._memory = memory
        self._partition = partition
        self._name = aggregate.__definition__.name
        self._decoder = codecs.events
        self._outcomes = codecs.outcomes
        self._topic_id = commands_topic_id
        self._on_events = on_events
        self._on_foreign = on_foreign
        self._partitions = partitions
        self.plausibility = Plausibility(partition, commands_topic_id)
        self._patience_seconds: float | None = None
        self.foreign = 0
        """How many records were read that cannot be the framework's."""
        self._unfinished: dict[str, tuple[EventHeaders, int]] = {}  # by aggregate: the newest event, and its offset
        self.events = 0
        """How many events were read."""

    def take_events(self, records: Sequence[Record]) -> None:
        """Takes the next records of the events topic.

        One that cannot be the framework's stops the aggregate under its key, and where no key can be read all of the partition.

        Raises `StateStoreFailed`, and `BrokerUnavailable` when a schema cannot be read just now; what was taken before that is kept,
        and the rest may be given again.
        """
        for some in self._portions(records):
            self._take_events(some)

    def _portions(self, records: Sequence[Record]) -> Iterator[Sequence[Record]]:
        """The records bit by bit, as many as memory may take; in between, memory is kept within its budget."""
        memory, start = self._memory, 0
        while start < len(records):
            if self.between_commands:
                self._check_room()
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

    def _check_room(self) -> None:
        memory = self._memory
        if memory.is_full:
            memory.save()
            if memory.is_full:
                raise StateStoreFull(
                    f"partition {self._partition} of {self._name}: its share of the memory is used up, and its state store cannot be "
                    "written: make room on the disk of EVENTSOURCE_WORKER__STATE_DIR, or raise EVENTSOURCE_WORKER__STATE_MEMORY_MB"
                )

    def _take_events(self, records: Sequence[Record]) -> None:
        newest: tuple[int, EventHeaders] | None = None
        before = self.events
        try:
            for record in records:
                headers = self._event(record)
                if headers is not None:
                    newest = record.offset, headers
        finally:
            if newest is not None:
                self._memory.position.newest_event = newest[0], newest[1].ce_id
            self._on_events(self.events - before)

    def _event(self, record: Record) -> EventHeaders | None:
        memory = self._memory
        try:
            headers = event_headers_of(record)
            self.plausibility.check_event(record, headers)
            aggregate_id = _id_of(record)
        except (HeaderError, UnicodeDecodeError) as error:
            self._take_foreign(record, error)
            memory.position.events = record.offset + 1
            return None
        event: Event | str
        try:
            event = self._decoder.event(record, headers, self._patience_seconds)
        except SchemaError as error:
            self._lose_patience(error)
            event = str(error)
        self.events += 1
        self._note_origin(headers.origin)
        known = memory.known.find(headers.command_id) if headers.index > 1 else None
        if known is None or known.status is Status.ACCEPTED:  # not over the answer that half of it is missing
            memory.known.remember_accepted(
                headers.command_id,
                headers.content_hash or headers.body_hash,
                headers.version,
                record.offset,
                headers.time_ms,
                self.plausibility.newest_ms(record, headers.time_ms),
            )
        if headers.count != 1 or self._unfinished:
            self._check_whole(aggregate_id, headers, record.offset)
        states = memory.states
        current = memory.find_aggregate(aggregate_id)
        expected = (current.version if current is not None else 0) + 1
        if current is None and self._partitions is not None:
            self._check_routing(aggregate_id, record)
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

    def _take_foreign(self, record: Record, error: Exception) -> None:
        reason = str(error) if isinstance(error, EventSourceError) else f"its key is not UTF-8 ({error})"
        place = f"{record.topic}[{record.partition}]@{record.offset}"
        if not reason.startswith(place):
            reason = f"{place}: {reason}"
        self.foreign += 1
        self._on_foreign(record, reason)
        if self.foreign <= _MOST_LOGGED:
            _log.error(
                "foreign_record", aggregate=self._name, partition=self._partition, offset=record.offset, reason=reason
            )
        states = self._memory.states
        try:
            aggregate_id = record.key.decode()
        except UnicodeDecodeError:
            aggregate_id = ""
        if aggregate_id:
            states.stop(aggregate_id, f"{self._name} {aggregate_id!r} is stopped: {reason}")
        else:
            states.stop(
                WHOLE_PARTITION,
                f"partition {self._partition} of {self._name} is stopped, since a record without a readable key may belong to any "
                f"aggregate: {reason}; see `eventsource doctor`, and restore the topic without that record",
            )

    def _lose_patience(self, error: Exception) -> None:
        # The writer of a record has registered its schema before: one that was waited for in vain shows that the rest is there.
        if isinstance(error, UnknownFingerprint):
            self._patience_seconds = 0.0

    def _check_routing(self, aggregate_id: str, record: Record) -> None:
        partitions = self._partitions
        if partitions is None or partition_for(record.key, partitions) == record.partition:
            return
        self._memory.states.stop(
            aggregate_id,
            f"{self._name} {aggregate_id!r} is stopped here: {record.topic}[{record.partition}]@{record.offset} belongs to another "
            "partition: only the framework may write there, in the partition that murmur2 gives; find out who wrote it",
        )

    @property
    def between_commands(self) -> bool:
        """Whether no command's events have been read in part: only then may a state store take in what was replayed."""
        return not self._unfinished

    def take_outcomes(self, records: Sequence[Record]) -> None:
        """Takes the next records of the outcomes topic. As `take_events`."""
        for some in self._portions(records):
            for record in some:
                self._outcome(record)

    def _outcome(self, record: Record) -> None:
        memory = self._memory
        try:
            headers = read_outcome_headers(record.headers)
            outcome = self._outcomes.decode(record.value or b"", patience_seconds=self._patience_seconds)
            status = _status(record, outcome)
            self.plausibility.check_outcome(record, headers, outcome.version, outcome.code)
        except (HeaderError, SchemaError) as error:
            self._lose_patience(error)
            self._take_foreign(record, error)
            memory.position.outcomes = record.offset + 1
            return
        self._note_origin(headers.origin)
        memory.known.remember(
            headers.command_id,
            Answer(
                headers.content_hash or headers.body_hash,
                status,
                outcome.version,
                self._offset_of(record, outcome),
                -1,
                outcome.code,
                outcome.details,
            ),
            headers.time_ms,
            self.plausibility.newest_ms(record, headers.time_ms),
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
        if self.foreign > _MOST_LOGGED:
            _log.error("foreign_records", aggregate=self._name, partition=self._partition, records=self.foreign)
        unfinished, self._unfinished = self._unfinished, {}
        for aggregate_id, (headers, _) in unfinished.items():
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
        # By aggregate: between the events of one command, others may have written what is none of the owner's.
        before, _ = self._unfinished.pop(aggregate_id, (None, 0))
        if before is not None and (before.command_id != headers.command_id or headers.index != before.index + 1):
            self._stop_torn(aggregate_id, before)
        if (before is None or before.command_id != headers.command_id) and headers.index != 1:
            self._stop_incomplete(
                aggregate_id,
                headers,
                f"event {headers.index} of {headers.count} of command {headers.command_id} stands alone at offset {offset}",
            )
        if headers.index < headers.count:
            self._unfinished[aggregate_id] = headers, offset
        for id_, (torn, at) in list(self._unfinished.items()):
            if offset - at > _LONGEST_COMMAND:
                del self._unfinished[id_]
                self._stop_torn(id_, torn)

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
                headers.content_hash or headers.body_hash,
                Status.FAILED,
                headers.version,
                -1,
                -1,
                ForkDetected.__name__,
                json.dumps({"message": reason}),
            ),
            headers.time_ms,
            0,  # its events moved the time
        )


def _id_of(record: Record) -> str:
    if not record.key:
        raise HeaderError(f"{record.topic}[{record.partition}]@{record.offset}: an event without a key")
    return record.key.decode()


def _status(record: Record, outcome: Outcome) -> Status:
    try:
        return Status(outcome.status)
    except ValueError:
        raise DecodeError(
            f"{record.topic}[{record.partition}]@{record.offset}: an outcome of status {outcome.status}, which this version does not "
            "know: upgrade the worker"
        ) from None
