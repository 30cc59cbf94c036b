"""From command records to events, outcomes and replies: everything an owner decides, without any I/O.

Order of the checks, for every command: the routing, the known id, the expiry, the expected version, then the domain.
"""

from __future__ import annotations

import json
from asyncio import CancelledError
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import structlog

from eventsource.app import App
from eventsource.commands.deduplication import CLOCK_SKEW_MS, Answer, Deduplication
from eventsource.commands.reply import Reply
from eventsource.commands.states import AggregateStates, Current
from eventsource.commands.status import OUTCOME_NAME, Outcome, Status
from eventsource.domain import Aggregate, Command, Context, Event, Rejected
from eventsource.errors import (
    AlreadyExists,
    BrokerUnavailable,
    DecodeError,
    EventSourceError,
    HeaderError,
    MessageTooLarge,
    NotFound,
)
from eventsource.log.headers import (
    EMPTY_TRAIL,
    NO_CLIENT,
    CommandHeaders,
    FactWriter,
    Origin,
    Trail,
    body_hash,
    event_es,
    outcome_es,
    read_command_headers,
)
from eventsource.log.partitioner import partition_for
from eventsource.log.record import Outgoing, Record
from eventsource.log.recorded import time_from_ms
from eventsource.names import Names
from eventsource.schemas import MessageCodec, SchemaStore

_log = structlog.get_logger("eventsource.commands")
_HOUR_MS: Final = 3_600_000
_MESSAGE_CHARACTERS: Final = 1_000
UNREADABLE: Final = "unreadable"


class PendingReply(NamedTuple):
    """A reply that waits for the commit. `reused` answers that the id belongs to another command."""

    client_id: bytes
    reply_partition: int
    command_id: str
    answer: Answer
    reused: bool = False


@dataclass(slots=True)
class Handled:
    """What a batch of commands led to: the records of its transaction, the next commands offset, and the replies after it."""

    next_offset: int
    records: list[Outgoing] = field(default_factory=list)
    replies: list[PendingReply] = field(default_factory=list)


class CommandHandling:
    """Handles the commands of one partition of one aggregate.

    `handle` changes only what `rollback` can undo; `commit` keeps it once the transaction is in the log.
    """

    def __init__(
        self,
        app: App,
        aggregate: type[Aggregate[Any]],
        partition: int,
        *,
        names: Names,
        commands_topic_id: bytes,
        schemas: SchemaStore,
        window_ms: int | None,
        max_event_bytes: int,
    ) -> None:
        self.definition = aggregate.__definition__
        self.states = AggregateStates(self.definition)
        self.known = Deduplication(window_ms)
        self.partition = partition
        self._partitions = app.partitions_of(aggregate)
        self._topic_id = commands_topic_id
        self._max_bytes = max_event_bytes
        self._refused: dict[int, str] = {}
        self._events_topic = names.events(self.definition.name)
        self._outcomes_topic = names.outcomes(self.definition.name)
        self._source = f"/{names.prefix}/{self.definition.name}"
        self._facts = FactWriter(self._source)
        self._commands: dict[str, MessageCodec[Command]] = _codecs(self.definition.commands, schemas)
        events: dict[str, MessageCodec[Event]] = _codecs(self.definition.events, schemas)
        self._events = {event: events[event.message_name] for event in self.definition.events.values()}
        self._outcomes = MessageCodec(Outcome, OUTCOME_NAME, schemas)

    def register_schemas(self) -> None:
        """Registers all that this partition may write, before its first transaction."""
        for codec in self._events.values():
            codec.register()
        self._outcomes.register()

    def handle(self, batch: Sequence[Record]) -> Handled:
        """Handles commands in order. The batch must not be empty."""
        handled = Handled(next_offset=batch[-1].offset + 1)
        for record in batch:
            self._handle_one(record, handled)
        return handled

    def commit(self, offsets: list[int]) -> None:
        """Keeps what the batch changed; `offsets` are those of its records in the log."""
        self._refused.clear()
        self.states.commit(offsets)
        self.known.commit(offsets)

    def rollback(self) -> None:
        """Forgets what the batch changed."""
        self.states.rollback()
        self.known.rollback()

    def refuse(self, offset: int, reason: str) -> None:
        """Lets the command at this offset fail: what it leads to cannot be written, as was found by trying it alone."""
        self._refused[offset] = reason

    def reply(self, pending: PendingReply) -> Reply:
        """The reply, once the batch is committed."""
        answer = pending.answer
        status = Status.COMMAND_ID_REUSED if pending.reused else answer.status
        return Reply(
            pending.command_id, status, self.partition, answer.offset, answer.version, answer.code, answer.details
        )

    # --- one command ---------------------------------------------------------------------------------------------

    def _handle_one(self, record: Record, handled: Handled) -> None:
        try:
            headers = read_command_headers(record.headers)
        except HeaderError as error:
            headers = CommandHeaders(
                f"{UNREADABLE}/{record.partition}/{record.offset}",
                UNREADABLE,
                self._source,
                record.timestamp_ms,
                client_id=NO_CLIENT,
            )
            self._fail(_Request(record, headers, b"\0" * 8), handled, error)
            return
        request = _Request(record, headers, body_hash(record.key, headers.type.encode(), record.value or b""))
        known = self.known.find(headers.command_id)
        if known is not None:
            self._answer_again(request, known, handled)
            return
        try:
            self._check(request)
            self._decide(request, handled)
        except _Refused as refused:
            self._refuse(request, handled, refused.status, refused.code, refused.details)
        except Rejected as rejected:
            self._reject(request, handled, rejected)
        except NotFound:
            self._refuse(request, handled, Status.NOT_FOUND)
        except AlreadyExists:
            self._refuse(request, handled, Status.ALREADY_EXISTS)
        except BrokerUnavailable:
            raise  # the schemas topic cannot be read just now: no fault of the command
        except (Exception, SystemExit, CancelledError) as error:  # noqa: BLE001 - user code may raise anything
            self._fail(request, handled, error)

    def _check(self, request: _Request) -> None:
        record, headers = request.record, request.headers
        if record.offset in self._refused:
            raise MessageTooLarge(self._refused[record.offset])
        try:
            record.key.decode()
        except UnicodeDecodeError:
            raise HeaderError(f"key {record.key!r} is not UTF-8: an aggregate id is a text") from None
        if not record.key or partition_for(record.key, self._partitions) != record.partition:
            raise HeaderError(
                f"key {record.key!r} does not belong to partition {record.partition} of {self._partitions}: "
                "the sender must compute it by murmur2, as docs/wire.md says"
            )
        if self.known.is_expired(headers.sent_at_ms, record.timestamp_ms):
            window_ms = self.known.window_ms or 0
            raise _Refused(Status.EXPIRED, details={"window_seconds": window_ms / 1_000})
        if self.known.window_ms is not None and headers.sent_at_ms - record.timestamp_ms > CLOCK_SKEW_MS:
            raise HeaderError(
                f"sent_at lies {(headers.sent_at_ms - record.timestamp_ms) / _HOUR_MS:.1f} h after the broker's clock, so a repetition "
                "could not be told from a new command: set the sender's clock"
            )
        if headers.expected_version is not None:
            current = self.states.find(request.aggregate_id)
            version = current.version if current is not None else 0
            if version != headers.expected_version:
                raise _Refused(Status.VERSION_CONFLICT, details={"expected": headers.expected_version})

    def _decide(self, request: _Request, handled: Handled) -> None:
        record, headers = request.record, request.headers
        aggregate_id = request.aggregate_id
        self.states.check(aggregate_id)
        codec = self._commands.get(headers.type)
        if codec is None or record.value is None:
            raise DecodeError(
                f"{self.definition.name} has no command {headers.type!r}, or it came without a value: "
                "deploy the workers before the clients that send a new command"
            )
        command = codec.decode(record.value)
        current = self.states.find(aggregate_id)
        context = Context(
            id=aggregate_id,
            version=current.version if current is not None else 0,
            time=time_from_ms(record.timestamp_ms),
            command_id=headers.command_id,
            correlation_id=headers.trail.correlation_id or headers.command_id,
            actor=headers.trail.actor or None,
            metadata=headers.trail.metadata,
        )
        events = self.definition.decide(current.state if current is not None else None, command, context)
        if not events:
            self._refuse(request, handled, Status.ACCEPTED)
            return
        records = self._event_records(request, events, context.version)
        first_index = len(handled.records)
        after = self.states.apply(aggregate_id, events, first_index)
        handled.records += records
        self._answer(request, handled, Answer(request.body_hash, Status.ACCEPTED, after.version, -1, after.index))

    def _event_records(self, request: _Request, events: tuple[Event, ...], version: int) -> list[Outgoing]:
        record, command_id = request.record, request.headers.command_id
        origin = Origin(self._topic_id, record.partition, record.offset)
        es = event_es(origin, record.timestamp_ms, request.body_hash, _passed_on(request.headers.trail))
        count = len(events)
        records = []
        for index, event in enumerate(events, 1):
            headers = self._facts.event(
                es, command_id, index, count, event.message_name, event.message_revision, version + index
            )
            outgoing = Outgoing(
                self._events_topic, self.partition, record.key, self._events[event.__class__].encode(event), headers
            )
            self._check_size(event, outgoing)
            records.append(outgoing)
        return records

    def _check_size(self, event: Event, outgoing: Outgoing) -> None:
        # What is far from the limit need not be counted to the byte.
        if len(outgoing.value) + len(outgoing.key) + len(outgoing.headers[-1][1]) < self._max_bytes // 2:
            return
        size_bytes = outgoing.size_bytes
        if size_bytes > self._max_bytes:
            raise MessageTooLarge(
                f"event {event.message_name!r} takes {size_bytes} bytes, {self._max_bytes} are allowed: store what is large "
                "elsewhere and keep a reference in the event"
            )

    # --- answers -------------------------------------------------------------------------------------------------

    def _fail(self, request: _Request, handled: Handled, error: BaseException) -> None:
        told = _log.bind(
            aggregate=self.definition.name,
            aggregate_id=request.aggregate_id,
            command_id=request.headers.command_id,
            command=request.headers.type,
            error=type(error).__name__,
        )
        try:
            told.error("command_failed", exc_info=None if isinstance(error, EventSourceError) else error)
        except Exception:  # noqa: BLE001 - an error that cannot be printed makes some loggers raise
            told.error("command_failed", reason=_text_of(error))
        self._refuse(request, handled, Status.FAILED, type(error).__name__, {"message": _text_of(error)})

    def _reject(self, request: _Request, handled: Handled, rejected: Rejected) -> None:
        try:
            code, details = rejected.code, rejected.details()
            json.dumps(details)
        except Exception as error:  # noqa: BLE001 - a rejection is user code too
            self._fail(request, handled, error)
        else:
            self._refuse(request, handled, Status.REJECTED, code, details)

    def _refuse(
        self, request: _Request, handled: Handled, status: Status, code: str = "", details: dict[str, Any] | None = None
    ) -> None:
        current: Current | None = self.states.find(request.aggregate_id)
        text = json.dumps(details, separators=(",", ":")) if details else ""
        answer = Answer(request.body_hash, status, 0, -1, -1, code, text)
        if current is not None:
            answer.version, answer.offset, answer.index = current.version, current.offset, current.index
        outgoing = self._outcome_record(request, answer, _passed_on(request.headers.trail))
        if outgoing.size_bytes > self._max_bytes:
            answer.status, answer.code = Status.FAILED, MessageTooLarge.__name__
            answer.details = json.dumps(
                {
                    "message": f"the outcome takes {outgoing.size_bytes} bytes, {self._max_bytes} are allowed: "
                    "keep rejections and metadata small"
                }
            )
            outgoing = self._outcome_record(request, answer, EMPTY_TRAIL)
        handled.records.append(outgoing)
        self._answer(request, handled, answer)

    def _outcome_record(self, request: _Request, answer: Answer, trail: Trail) -> Outgoing:
        record, headers = request.record, request.headers
        outcome = Outcome(status=answer.status, version=answer.version, code=answer.code, details=answer.details)
        origin = Origin(self._topic_id, record.partition, record.offset)
        es = outcome_es(origin, record.timestamp_ms, request.body_hash, trail)
        return Outgoing(
            self._outcomes_topic,
            self.partition,
            record.key,
            self._outcomes.encode(outcome),
            self._facts.outcome(es, headers.command_id, headers.type, answer.version),
        )

    def _answer(self, request: _Request, handled: Handled, answer: Answer) -> None:
        self.known.add(request.headers.command_id, answer, request.record.timestamp_ms)
        self._queue_reply(request, handled, answer)

    def _answer_again(self, request: _Request, known: Answer, handled: Handled) -> None:
        self._queue_reply(request, handled, known, reused=known.body_hash != request.body_hash)

    def _queue_reply(self, request: _Request, handled: Handled, answer: Answer, *, reused: bool = False) -> None:
        headers = request.headers
        if headers.reply_partition is not None and headers.client_id != NO_CLIENT:
            handled.replies.append(
                PendingReply(headers.client_id, headers.reply_partition, headers.command_id, answer, reused)
            )


class _Request(NamedTuple):
    record: Record
    headers: CommandHeaders
    body_hash: bytes

    @property
    def aggregate_id(self) -> str:
        return self.record.key.decode(errors="replace")


class _Refused(Exception):
    # Control flow within this module: never seen outside.

    def __init__(self, status: Status, code: str = "", details: dict[str, Any] | None = None) -> None:
        super().__init__(status)
        self.status, self.code, self.details = status, code, details


def _text_of(error: BaseException) -> str:
    try:
        return str(error)[:_MESSAGE_CHARACTERS]
    except Exception:  # noqa: BLE001 - user code again: an error that cannot say what it is
        return "the error has no readable text"


def _passed_on(trail: Trail) -> Trail:
    # What caused an event is its command, whose id the event carries: only the rest is passed on.
    if not trail.causation_id:
        return trail
    return Trail(trail.correlation_id, "", trail.actor, trail.metadata)


def _codecs(classes: Any, schemas: SchemaStore) -> dict[str, Any]:
    by_class = {message: MessageCodec(message, message.message_name, schemas) for message in set(classes.values())}
    return {name: by_class[message] for name, message in classes.items()}
