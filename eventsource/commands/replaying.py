"""Building a partition's memory from its events and outcomes, as they stand in the log."""

from __future__ import annotations

import json
from typing import Any

import structlog

from eventsource.commands.deduplication import Answer
from eventsource.commands.handling import CommandHandling
from eventsource.commands.status import OUTCOME_NAME, Outcome, Status
from eventsource.domain import Aggregate
from eventsource.errors import DecodeError, ForkDetected, OffsetLost, UnknownFingerprint
from eventsource.log.events import EventDecoder
from eventsource.log.headers import EventHeaders, Origin, read_event_headers, read_outcome_headers
from eventsource.log.record import Record
from eventsource.log.recorded import Recorded
from eventsource.schemas import MessageCodec, SchemaStore

_log = structlog.get_logger("eventsource.replay")

MAX_TRANSACTION_COMMANDS = 10_000
"""No transaction handles more commands than this: how far a torn one can leave the committed offset behind."""


class PartitionReplay:
    """Folds the records of a partition's events and outcomes topics into its memory.

    Every event is checked: an aggregate with a gap, a repeat or an incomplete command in its history is stopped, and the others
    go on.
    """

    def __init__(
        self, aggregate: type[Aggregate[Any]], handling: CommandHandling, schemas: SchemaStore, commands_topic_id: bytes
    ) -> None:
        self._handling = handling
        self._name = aggregate.__definition__.name
        self._decoder = EventDecoder(aggregate, schemas)
        self._outcomes = MessageCodec(Outcome, OUTCOME_NAME, schemas)
        self._topic_id = commands_topic_id
        self._unfinished: tuple[str, EventHeaders] | None = None
        self.last_origin = -1
        """The offset of the newest command that left an event or outcome here; -1: none has."""
        self.events = 0

    def event(self, record: Record) -> None:
        """Takes the next record of the events topic.

        Raises `HeaderError` when it is not the framework's, and `BrokerUnavailable` when its schema cannot be read just now;
        the same record may be given again then.
        """
        headers = read_event_headers(record.headers)
        decoded = self._decoded(record)
        aggregate_id = record.key.decode(errors="replace")
        self.events += 1
        self._note_origin(headers.origin)
        known = self._handling.known.find(headers.command_id)
        if known is None or known.status is Status.ACCEPTED:  # not over the answer that half of it is missing
            answer = Answer(headers.body_hash, Status.ACCEPTED, headers.version, record.offset)
            self._handling.known.remember(headers.command_id, answer, headers.time_ms)
        self._check_whole(aggregate_id, headers, record.offset)
        states = self._handling.states
        current = states.find(aggregate_id)
        expected = (current.version if current is not None else 0) + 1
        if not states.is_stopped(aggregate_id) and headers.version != expected:
            states.stop(
                aggregate_id,
                f"{self._name} {aggregate_id!r} is stopped: its log has a {'gap' if headers.version > expected else 'repeat'}: version "
                f"{headers.version} at offset {record.offset}, where {expected} was due; "
                f"inspect it with `eventsource events show {self._name} {aggregate_id}`",
            )
        if isinstance(decoded, str):
            states.stop(aggregate_id, f"{self._name} {aggregate_id!r} is stopped: {decoded}")
        elif not states.is_stopped(aggregate_id):
            states.replay(aggregate_id, decoded.event, headers.version, record.offset)

    def _decoded(self, record: Record) -> Recorded | str:
        """The event, or why it cannot be read."""
        try:
            return self._decoder.decode(record)
        except (
            DecodeError,
            UnknownFingerprint,
        ) as error:  # a fingerprint is unknown only after the store waited for it
            return str(error)

    def outcome(self, record: Record) -> None:
        """Takes the next record of the outcomes topic."""
        headers = read_outcome_headers(record.headers)
        self._note_origin(headers.origin)
        outcome = self._outcomes.decode(record.value or b"")
        try:
            status = Status(outcome.status)
        except ValueError:
            raise DecodeError(
                f"{record.topic}[{record.partition}]@{record.offset}: an outcome of status {outcome.status}, which this version does not "
                "know: upgrade the worker"
            ) from None
        current = self._handling.states.find(record.key.decode(errors="replace"))
        offset = current.offset if current is not None and current.version >= outcome.version else -1
        self._handling.known.remember(
            headers.command_id,
            Answer(headers.body_hash, status, outcome.version, offset, -1, outcome.code, outcome.details),
            headers.time_ms,
        )

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
        if committed is None and self.last_origin >= 0:
            raise OffsetLost(
                f"the group of {self._name}'s owners has no committed offset for partition {self._handling.partition}, yet commands up to "
                f"offset {self.last_origin} were handled: set it to {self.last_origin + 1} with kafka-consumer-groups --reset-offsets"
            )
        if committed is not None and committed + MAX_TRANSACTION_COMMANDS <= self.last_origin:
            raise OffsetLost(
                f"partition {self._handling.partition} of {self._name}: the committed offset {committed} lies below {self.last_origin}, "
                f"the newest command that was handled: set it to {self.last_origin + 1} with kafka-consumer-groups --reset-offsets"
            )
        if committed is not None and committed > end:
            raise OffsetLost(
                f"partition {self._handling.partition} of {self._name}: the committed offset {committed} lies past the end of the commands "
                f"topic, {end}: commands were lost; find out how before going on"
            )
        if committed is not None and committed <= self.last_origin:
            _log.warning(
                "offset_behind_log",
                aggregate=self._name,
                partition=self._handling.partition,
                committed=committed,
                last=self.last_origin,
            )

    def _note_origin(self, origin: Origin) -> None:
        if origin.topic_id == self._topic_id:
            self.last_origin = max(self.last_origin, origin.offset)

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
        self._handling.states.stop(aggregate_id, reason)
        # Half a command was not accepted, whoever asks again.
        self._handling.known.remember(
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
