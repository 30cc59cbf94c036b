"""From command records to events, outcomes and replies: everything an owner decides. Its only I/O is its local state store.

Order of the checks, for every command: the known id, what cannot be read, the routing, the expiry, the expected version, then the
domain.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from opentelemetry import trace

from eventsource.app import App
from eventsource.clock import Clock, SystemClock
from eventsource.commands.aggregate_codecs import AggregateCodecs
from eventsource.commands.builtin import APPEND, LOAD, unpack_events
from eventsource.commands.checks import CommandChecks, Refused
from eventsource.commands.content import ContentHashes
from eventsource.commands.dead_letters import dead_letter
from eventsource.commands.deduplication import Answer, Deduplication
from eventsource.commands.facts import FactRecords
from eventsource.commands.failures import FailureListener, code_of, log_failure, text_of
from eventsource.commands.handled import Handled
from eventsource.commands.memory import PartitionMemory
from eventsource.commands.memory_budget import MemoryBudget
from eventsource.commands.reply import topic_crc
from eventsource.commands.request import PendingReply, Request, context_of, read_requests, without_extras
from eventsource.commands.schema_patience import SchemaPatience
from eventsource.commands.states import AggregateStates, Current
from eventsource.commands.status import Outcome, Status
from eventsource.domain import Aggregate, Command, Context, Event, Rejected
from eventsource.errors import (
    AlreadyExists,
    BrokerUnavailable,
    DecodeError,
    EventSourceError,
    HeaderError,
    MessageTooLarge,
    NotFound,
    StateStoreFailed,
    TransactionAborted,
    UnknownFingerprint,
)
from eventsource.log.headers import NO_CLIENT, event_id
from eventsource.log.record import Outgoing, Record
from eventsource.names import Names
from eventsource.telemetry import handling_span, trace_parent

_SMALL_BYTES: Final = 4_096


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
        codecs: AggregateCodecs,
        window_ms: int | None,
        max_event_bytes: int,
        budget: MemoryBudget | None = None,
        clock: Clock | None = None,
        on_failure: FailureListener = log_failure,
    ) -> None:
        self.definition = aggregate.__definition__
        self._on_failure = on_failure
        self._dispatch = self.definition.dispatch
        self.memory = PartitionMemory(self.definition, window_ms, budget, clock)
        self.partition = partition
        self._checks = CommandChecks(self.definition, app.partitions_of(aggregate))
        self._max_bytes = max_event_bytes
        self._dead_letters_topic = names.dead_letters(self.definition.name)
        self._facts = FactRecords(self.definition, partition, names, commands_topic_id, codecs, max_event_bytes)
        self._contents = ContentHashes(codecs.schemas)
        self._source = self._facts.source
        self._topic_crc = topic_crc(names.commands(self.definition.name))
        self._commands = codecs.commands
        self._state_codec = codecs.state
        self._spans: list[trace.Span] = []
        self._patience = SchemaPatience(clock if clock is not None else SystemClock())
        self._interrupted = False
        self.deciding: Request | None = None
        """The command at hand, for whoever watches from another thread; None: there is none."""

    @property
    def states(self) -> AggregateStates:
        return self.memory.states

    @property
    def known(self) -> Deduplication:
        return self.memory.known

    def register_schemas(self) -> None:
        """Registers all that this partition may write, before its first transaction."""
        self._facts.register_schemas()
        if self._state_codec is not None:
            self._state_codec.register()

    def handle(self, batch: Sequence[Record], handled: Handled | None = None) -> Handled:
        """Handles commands in order; with `handled`, as a further part of that batch. There must be one at least.

        It stops early, at `next_offset`, where so many states were asked for that the rest must wait (`Handled.is_full`), and
        after `interrupt`.
        """
        handled = handled if handled is not None else Handled()
        requests = read_requests(list(batch), self._source)
        self.memory.prefetch(requests)
        for request in requests:
            self.deciding = request
            if request.headers.traceparent is None:
                self._handle_one(request, handled)
            else:
                self._handle_traced(request, request.headers.traceparent, handled)
            if self._interrupted or handled.is_full:
                handled.next_offset = request.record.offset + 1
                self.deciding = None
                return handled
        handled.next_offset = batch[-1].offset + 1
        self.deciding = None
        return handled

    def interrupt(self) -> None:
        """Lets the batch end with the command at hand. May be called from any thread."""
        self._interrupted = True

    def commit(self, handled: Handled, offsets: list[int]) -> None:
        """Keeps what the batch changed; `offsets` are those of its records in the log."""
        self._checks.refused.clear()
        self._interrupted = False
        for span in self._spans:
            span.end()
        self._spans.clear()
        for answer in handled.loads:
            if answer.index >= 0:
                answer.offset, answer.index = offsets[answer.index], -1
        newest_event = None
        if handled.newest_event is not None:
            index, command_id, count = handled.newest_event
            newest_event = index, event_id(command_id, count, count)
        self.memory.commit(offsets, newest_event, handled.newest_outcome, handled.last_origin)

    def rollback(self) -> None:
        """Forgets what the batch changed."""
        self._interrupted = False
        self.deciding = None
        self.memory.rollback()
        for span in self._spans:
            span.set_status(trace.Status(trace.StatusCode.ERROR, "the transaction was aborted"))
            span.end()
        self._spans.clear()

    def refuse(self, offset: int, reason: str) -> None:
        """Lets the command at this offset fail: what it leads to cannot be written, as was found by trying it alone."""
        self._checks.refused[offset] = reason

    def replies(self, handled: Handled) -> list[tuple[int, bytes, bytes]]:
        """The replies of a batch that is committed: partition of the replies topic, client id, bytes of the `Reply`."""
        partition, crc = self.partition, self._topic_crc
        return [
            (pending.reply_partition, pending.client_id, pending.encode(partition, crc)) for pending in handled.replies
        ]

    def _handle_traced(self, request: Request, traceparent: bytes, handled: Handled) -> None:
        """In a span that ends with the commit; what the command leaves carries it on."""
        headers = request.headers
        trail = {"correlation_id": headers.trail.correlation_id, "causation_id": headers.trail.causation_id}
        span = handling_span(self.definition.name, headers.type, headers.command_id, traceparent, trail)
        self._spans.append(span)
        onward = headers._replace(traceparent=trace_parent(span) or traceparent)
        before = len(handled.statuses)
        self._handle_one(request._replace(headers=onward), handled)
        outcome = handled.statuses[-1].name.lower() if len(handled.statuses) > before else "answered"
        span.set_attribute("eventsource.outcome", outcome)

    # --- one command ---------------------------------------------------------------------------------------------

    def _handle_one(self, request: Request, handled: Handled) -> None:
        headers = request.headers
        if headers.type == LOAD and request.error is None:
            self._load(request, handled)
            return
        known = self.memory.find_answer(headers.command_id)
        if known is not None:
            self._queue_reply(request, handled, known, self._contents.differs(request, known.body_hash))
            return
        record = request.record
        if record.offset <= self.memory.position.last_origin and self.known.is_forgotten(record.timestamp_ms):
            # It is read again, and its answer is forgotten. It left its trace then, and leaves no other now.
            self._queue_reply(request, handled, Answer(request.body_hash, Status.EXPIRED, 0, -1, details=self._expiry))
            return
        try:
            current = self.memory.find_aggregate(request.aggregate_id)
            self._checks.check(request, current, self.known)
            if self.states.stopped:
                self.states.check(request.aggregate_id)
            self._decide(request, current, handled)
        except Refused as refused:
            self._refuse(request, handled, refused.status, refused.code, refused.details)
        except Rejected as rejected:
            self._reject(request, handled, rejected)
        except NotFound:
            self._refuse(request, handled, Status.NOT_FOUND)
        except AlreadyExists:
            self._refuse(request, handled, Status.ALREADY_EXISTS)
        except (BrokerUnavailable, StateStoreFailed, TransactionAborted):
            raise  # the schemas topic, the local disk, or what the batch did before: no fault of the command
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - user code may raise anything, and would again after a restart
            self._fail(request, handled, error)

    @property
    def _expiry(self) -> str:
        return json.dumps({"window_seconds": (self.known.window_ms or 0) / 1_000})

    def _decide(self, request: Request, current: Current | None, handled: Handled) -> None:
        aggregate_id = request.aggregate_id
        version = current.version if current is not None else 0
        if request.headers.type == APPEND:
            events = self._appended(request)
        else:
            command = self._command(request)
            wanted = self._dispatch.wants_context(type(command), current is not None)
            context = context_of(request, version) if wanted else None
            if current is None:
                events = self._dispatch.decide(None, command, aggregate_id, context)
            else:
                events = self._decided(aggregate_id, current, command, context)
        if not events:
            self._refuse(request, handled, Status.ACCEPTED)
            return
        content_hash = self._contents.of(request)
        records, own, written = self._facts.events(request, content_hash, events, version)
        after = self.states.apply(aggregate_id, own, handled.taken + len(handled.records), written)
        handled.records += records
        handled.newest_event = after.index, request.headers.command_id, len(events)
        after.newest_command = request.headers.command_id
        self._answer(request, handled, Answer(content_hash, Status.ACCEPTED, after.version, -1, after.index))

    def _decided(
        self, aggregate_id: str, current: Current, command: Command, context: Context | None
    ) -> tuple[Event, ...]:
        states = self.states
        decision = states.begin_decision(aggregate_id, current)
        try:
            events = self._dispatch.decide(decision.state, command, aggregate_id, context)
        except KeyboardInterrupt:
            raise
        except BaseException:  # a refusal must leave the aggregate as it was, too
            states.end_decision(decision)
            raise
        states.end_decision(decision)
        return events

    def _command(self, request: Request) -> Command:
        codec = self._commands.get(request.headers.type)
        value = request.record.value
        if codec is None or value is None:
            raise DecodeError(
                f"{self.definition.name} has no command {request.headers.type!r}, or it came without a value: "
                "deploy the workers before the clients that send a new command"
            )
        try:
            command: Command = codec.decode(value, patience_seconds=self._patience.seconds)
        except UnknownFingerprint:
            self._patience.lose()
            raise
        self._contents.of(request)
        return command

    def _appended(self, request: Request) -> tuple[Event, ...]:
        if request.headers.expected_version is None:
            raise HeaderError("an append without an expected version: send it with client.append")
        events = list(unpack_events(request.record.value or b""))
        try:
            return self._facts.read_events(events, self._patience.seconds)
        except UnknownFingerprint:
            self._patience.lose()
            raise

    def _load(self, request: Request, handled: Handled) -> None:
        """Answers with the state as it is after all commands before. Leaves no trace, and is never deduplicated."""
        answer = Answer(request.body_hash, Status.NOT_FOUND, 0, -1)
        state = b""
        try:
            self.states.check(request.aggregate_id)
            current = self.memory.find_aggregate(request.aggregate_id)
            if current is None:
                self._checks.check_routing(request.record)
            else:
                if self._state_codec is None:
                    raise DecodeError(
                        f"the state of {self.definition.name} cannot be written exactly, so it cannot be sent: see the worker's "
                        "log for the field"
                    )
                state = self._state_codec.encode(current.state)
                if len(state) > self._max_bytes:
                    raise MessageTooLarge(
                        f"the state takes {len(state)} bytes, {self._max_bytes} are allowed: read it from a read model"
                    )
                answer = Answer(request.body_hash, Status.ACCEPTED, current.version, current.offset, current.index)
        except (BrokerUnavailable, StateStoreFailed):
            raise
        except EventSourceError as error:
            answer.status, answer.code = Status.FAILED, type(error).__name__
            answer.details = json.dumps({"message": text_of(error)})
            state = b""
        handled.loads.append(answer)
        handled.state_bytes += len(state)
        self._queue_reply(request, handled, answer, False, state)

    # --- answers -------------------------------------------------------------------------------------------------

    def _fail(self, request: Request, handled: Handled, error: BaseException) -> None:
        self._on_failure(self.definition.name, request, error)
        self._refuse(request, handled, Status.FAILED, code_of(error), {"message": text_of(error)})

    def _reject(self, request: Request, handled: Handled, rejected: Rejected) -> None:
        try:
            code, details = rejected.code, rejected.details()
            json.dumps(details)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - a rejection is user code too
            self._fail(request, handled, error)
        else:
            self._refuse(request, handled, Status.REJECTED, code, details)

    def _refuse(
        self, request: Request, handled: Handled, status: Status, code: str = "", details: dict[str, Any] | None = None
    ) -> None:
        current: Current | None = self.memory.find_aggregate(request.aggregate_id)
        text = json.dumps(details, separators=(",", ":")) if details else ""
        # What failed may have no schema, which nobody is to look for again; what could be decoded was seen.
        content_hash = self._contents.of(request, look=status is not Status.FAILED)
        answer = Answer(content_hash, status, 0, -1, -1, code, text)
        newest_command = ""
        if current is not None:
            answer.version, answer.offset, answer.index = current.version, current.offset, current.index
            if current.index >= 0:  # the event has no offset yet: it is in the same transaction
                answer.offset, newest_command = -1, current.newest_command
        # What the broker refused once is not copied, and leaves little: that might be refused too.
        refused = request.record.offset in self._checks.refused
        outgoing = self._outcome(request, answer, newest_command)
        if refused and outgoing.size_bytes > _SMALL_BYTES:
            outgoing = self._outcome(without_extras(request), answer, newest_command)
        elif not refused and outgoing.size_bytes > self._max_bytes:
            answer.status, answer.code = Status.FAILED, MessageTooLarge.__name__
            answer.details = json.dumps(
                {
                    "message": f"the outcome takes {outgoing.size_bytes} bytes, {self._max_bytes} are allowed: "
                    "keep rejections and metadata small"
                }
            )
            outgoing = self._outcome(without_extras(request), answer, newest_command)
        if answer.status is Status.FAILED:
            copied = 0 if refused else self._max_bytes
            handled.records.append(dead_letter(request.record, self._dead_letters_topic, answer.code, copied))
        handled.newest_outcome = handled.written, request.headers.command_id
        handled.records.append(outgoing)
        self._answer(request, handled, answer)

    def _outcome(self, request: Request, answer: Answer, newest_command: str) -> Outgoing:
        outcome = Outcome(
            status=answer.status,
            version=answer.version,
            code=answer.code,
            details=answer.details,
            offset=answer.offset,
            newest_command=newest_command,
        )
        return self._facts.outcome(request, answer.body_hash, outcome, request.headers.trail)

    def _answer(self, request: Request, handled: Handled, answer: Answer) -> None:
        offset, timestamp_ms = request.record.offset, request.record.timestamp_ms
        self.known.add(request.headers.command_id, answer, timestamp_ms)
        handled.last_origin = offset
        handled.statuses.append(answer.status)
        self._queue_reply(request, handled, answer)

    def _queue_reply(
        self, request: Request, handled: Handled, answer: Answer, reused: bool = False, state: bytes = b""
    ) -> None:
        headers = request.headers
        client_id, partition = headers.client_id, headers.reply_partition
        if partition is not None and client_id != NO_CLIENT:
            handled.replies.append(
                PendingReply(client_id, partition, headers.command_id, request.body_hash, answer, reused, state)
            )
