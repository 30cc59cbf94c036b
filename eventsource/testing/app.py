"""A whole app in one process and in memory, on a virtual clock: for users' tests of how their pieces work together.

The very code that handles commands and folds events in production runs here, over a log and tables in memory. It proves
nothing about fencing, time-outs or concurrency: `eventsource_stack` gives a test the real servers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from datetime import datetime
from itertools import count
from typing import Any, Final, TypeVar
from uuid import UUID

from eventsource.app import App
from eventsource.commands.aggregate_codecs import AggregateCodecs
from eventsource.commands.answers import answer_of, loaded_from
from eventsource.commands.arguments import (
    Receivers,
    check_expected_version,
    check_repetition,
    check_required_version,
    key_of,
    no_read_model,
)
from eventsource.commands.builtin import APPEND, LOAD
from eventsource.commands.client_codecs import ClientCodecs
from eventsource.commands.defaults import NO_DEFAULTS
from eventsource.commands.handling import CommandHandling
from eventsource.commands.history import AggregateHistory
from eventsource.commands.loaded import Loaded
from eventsource.commands.receipt import Receipt
from eventsource.commands.reply import Reply
from eventsource.commands.request import Request
from eventsource.consuming.definition import ConsumerDefinition, MemoryConsumer
from eventsource.domain import Aggregate, Command, Event
from eventsource.errors import DefinitionError, HandlerFailed
from eventsource.log.events import EventDecoder
from eventsource.log.headers import EMPTY_TRAIL, CommandHeaders, Trail, command_headers
from eventsource.log.partitioner import partition_for
from eventsource.log.record import Outgoing, Record
from eventsource.log.recorded import Recorded, ms_from_time
from eventsource.schemas import MemorySchemaStore, StateCodec
from eventsource.testing.memory_log import MemoryLog
from eventsource.testing.virtual_clock import VirtualClock

C = TypeVar("C", bound=Command)
A = TypeVar("A", bound=Aggregate[Any])
_DAY_MS: Final = 86_400_000
_MAX_EVENT_BYTES: Final = 900_000
_CLIENT_ID: Final = b"eventsource-test"


class TestApp:
    """`TestApp(bank).send(Account, "acc-1", Deposit(...))`, then `.rows(Balances)`.

    Command ids are counted (`command-1`, …) and the clock stands still until `clock.advance(...)`.
    """

    __test__ = False  # pytest must not take it for a test class

    def __init__(self, app: App, *, clock: VirtualClock | None = None) -> None:
        self.clock = clock if clock is not None else VirtualClock()
        self._app = app
        self._receivers = Receivers(app)
        self._names = app.names()
        self._schemas = MemorySchemaStore()
        self._log = MemoryLog()
        self._handlings: dict[tuple[str, int], CommandHandling] = {}
        self._handling_codecs: dict[type[Aggregate[Any]], AggregateCodecs] = {}
        self._codecs = ClientCodecs(self._schemas)
        self._decoders = {name: EventDecoder(aggregate, self._schemas) for name, aggregate in app.aggregates.items()}
        self._recorded: list[tuple[str, Record]] = []
        self._command_numbers = count(1)
        self._defaults = NO_DEFAULTS
        self._failure: BaseException | None = None
        self._consumers: dict[str, MemoryConsumer] = {}
        for name, consumer in app.consumers.items():
            self._consumers[name] = consumer.in_memory(app)

    def bound(
        self,
        *,
        timeout: float | None = None,
        actor: str = "",
        correlation_id: str = "",
        causation_id: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> TestApp:
        """A view of this app with defaults for its requests, as `Client.bound` gives it.

        In memory every answer is there at once: `timeout` is checked, and never over.
        """
        view = copy(self)
        view._defaults = self._defaults.bound(
            timeout=timeout,
            actor=actor,
            correlation_id=correlation_id,
            causation_id=causation_id,
            metadata=metadata,
        )
        return view

    def send(
        self,
        aggregate: type[Aggregate[C]],
        aggregate_id: str | UUID,
        command: C,
        *,
        expected_version: int | None = None,
        command_id: str | None = None,
        sent_at: datetime | None = None,
        actor: str = "",
        correlation_id: str = "",
        causation_id: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> Receipt:
        """Sends a command, as `Client.send` does; its events have reached every consumer when this returns.

        Raises what `Client.send` raises, but never `OutcomeUnknown`.
        """
        self._receivers.check_command(aggregate, command)
        check_expected_version(expected_version)
        return self._command(
            aggregate,
            aggregate_id,
            (command.message_name, self._codecs.command(command)),
            expected_version,
            command_id,
            sent_at,
            self._defaults.trail(correlation_id, causation_id, actor, metadata),
        )

    def append(
        self,
        aggregate: type[Aggregate[Any]],
        aggregate_id: str | UUID,
        events: Iterable[Event],
        *,
        expected_version: int,
        command_id: str | None = None,
        sent_at: datetime | None = None,
        actor: str = "",
        correlation_id: str = "",
        causation_id: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> Receipt:
        """Adds events, as `Client.append` does; they have reached every consumer when this returns.

        Raises what `Client.append` raises, but never `OutcomeUnknown`.
        """
        self._receivers.check(aggregate)
        check_required_version(expected_version)
        return self._command(
            aggregate,
            aggregate_id,
            (APPEND, self._codecs.append(aggregate, events)),
            expected_version,
            command_id,
            sent_at,
            self._defaults.trail(correlation_id, causation_id, actor, metadata),
        )

    def load(
        self,
        aggregate: type[A],
        aggregate_id: str | UUID,
        *,
        at_version: int | None = None,
        at_time: datetime | None = None,
    ) -> Loaded[A]:
        """An aggregate's state and version, now or earlier, as `Client.load` gives them.

        Raises what `Client.load` raises, but never `LoadUnanswered` or `ReadTimedOut`.
        """
        name, key, partition = self._place(aggregate, aggregate_id)
        topic = self._names.events(name)
        topic_id = MemoryLog.topic_id(topic)
        if at_version is None and at_time is None:
            codec = self._codecs.state(aggregate)
            headers = self._headers(LOAD, None, None, None, EMPTY_TRAIL)
            reply = self._handle(aggregate, Outgoing(self._names.commands(name), partition, key, b"", headers))
            return loaded_from(reply, codec, key.decode(), topic_id, patience_seconds=0)
        decoder = self._codecs.decoder(aggregate)
        history = AggregateHistory(aggregate, key.decode(), decoder, at_version=at_version, at_time=at_time)
        for record in self._log.read(topic, partition):
            if record.key == key:
                history.take(record)
        return history.loaded(topic_id)

    def _place(self, aggregate: type[Aggregate[Any]], aggregate_id: str | UUID) -> tuple[str, bytes, int]:
        self._receivers.check(aggregate)
        name = aggregate.__definition__.name
        if self._app.aggregates.get(name) is not aggregate:
            raise DefinitionError(f"aggregate {name!r} is not one of app {self._app.name!r}: add it to its aggregates")
        key = key_of(aggregate, aggregate_id)
        return name, key, partition_for(key, self._app.partitions_of(aggregate))

    def _command(
        self,
        aggregate: type[Aggregate[Any]],
        aggregate_id: str | UUID,
        command: tuple[str, bytes],
        expected_version: int | None,
        command_id: str | None,
        sent_at: datetime | None,
        trail: Trail,
    ) -> Receipt:
        check_repetition(command_id, sent_at)
        name, key, partition = self._place(aggregate, aggregate_id)
        type_, value = command
        headers = self._headers(type_, expected_version, command_id, sent_at, trail)
        reply = self._handle(aggregate, Outgoing(self._names.commands(name), partition, key, value, headers))
        answer = answer_of(reply, aggregate, key.decode(), MemoryLog.topic_id(self._names.events(name)))
        if isinstance(answer, Exception):
            failure = self._failure
            if isinstance(answer, HandlerFailed) and failure is not None:
                raise answer from failure
            raise answer
        return answer

    def _note_failure(self, _aggregate: str, _request: Request, error: BaseException) -> None:
        # Raised as the cause in the test itself, where a worker would log it.
        self._failure = error

    def _headers(
        self, type_: str, expected_version: int | None, command_id: str | None, sent_at: datetime | None, trail: Trail
    ) -> list[tuple[str, bytes]]:
        number = next(self._command_numbers)
        return command_headers(
            CommandHeaders(
                command_id=command_id if command_id is not None else f"command-{number}",
                type=type_,
                source=f"/{self._names.prefix}/client",
                sent_at_ms=ms_from_time(sent_at if sent_at is not None else self.clock.now()),
                expected_version=expected_version,
                reply_partition=0,
                client_id=_CLIENT_ID,
                trail=trail,
            )
        )

    def _handle(self, aggregate: type[Aggregate[Any]], command: Outgoing) -> Reply:
        """Does what an owner does with a command, transaction and all; then every consumer sees the events."""
        name = aggregate.__definition__.name
        self._failure = None
        record = self._log.append(command, ms_from_time(self.clock.now()))
        handling = self._handling(aggregate, command.partition)
        handled = handling.handle([record])
        appended = [self._log.append(written, record.timestamp_ms) for written in handled.records]
        handling.commit(handled, [written.offset for written in appended])
        events_topic = self._names.events(name)
        self._deliver([(name, written) for written in appended if written.topic == events_topic])
        ((_, _, reply),) = handling.replies(handled)
        return Reply.decode_all(reply)[0]

    def rows(self, consumer: ConsumerDefinition) -> Sequence[Any]:
        """The rows of a read model, in the order of their keys."""
        if not isinstance(getattr(consumer, "consumer_name", None), str):
            raise no_read_model(consumer, self._app)
        found = self._consumers.get(consumer.consumer_name)
        if found is None:
            raise DefinitionError(
                f"{consumer.consumer_name!r} is not a consumer of app {self._app.name!r}: add it to its consumers"
            )
        return found.rows()

    def events(
        self, aggregate: type[Aggregate[Any]] | None = None, aggregate_id: str | UUID | None = None
    ) -> list[Event]:
        """What was recorded so far, of all aggregates, one kind or one aggregate."""
        if aggregate is not None:
            self._receivers.check(aggregate)
        name = aggregate.__definition__.name if aggregate is not None else None
        id_ = str(aggregate_id) if aggregate_id is not None else None
        return [
            recorded.event
            for recorded in self._read(self._recorded)
            if (name is None or recorded.aggregate == name) and (id_ is None or recorded.id == id_)
        ]

    def state(self, aggregate: type[A], aggregate_id: str | UUID) -> A | None:
        """A copy of an aggregate as it is now, or None where it does not exist."""
        _, _, partition = self._place(aggregate, aggregate_id)
        handling = self._handling(aggregate, partition)
        current = handling.states.find(str(aggregate_id))
        if current is None:
            return None
        copied: A = aggregate.__definition__.copy(current.state)
        return copied

    def _handling(self, aggregate: type[Aggregate[Any]], partition: int) -> CommandHandling:
        name = aggregate.__definition__.name
        handling = self._handlings.get((name, partition))
        if handling is None:
            forever = aggregate in self._app.remember_commands_forever
            handling = self._handlings[name, partition] = CommandHandling(
                self._app,
                aggregate,
                partition,
                names=self._names,
                commands_topic_id=MemoryLog.topic_id(self._names.commands(name)),
                codecs=self._aggregate_codecs(aggregate),
                window_ms=None if forever else _DAY_MS,
                max_event_bytes=_MAX_EVENT_BYTES,
                on_failure=self._note_failure,
            )
        return handling

    def _aggregate_codecs(self, aggregate: type[Aggregate[Any]]) -> AggregateCodecs:
        codecs = self._handling_codecs.get(aggregate)
        if codecs is None:
            codecs = AggregateCodecs(aggregate, self._schemas, self._state_codec(aggregate))
            self._handling_codecs[aggregate] = codecs
        return codecs

    def _state_codec(self, aggregate: type[A]) -> StateCodec[A] | None:
        try:
            return self._codecs.state(aggregate)
        except DefinitionError:  # such an aggregate cannot be loaded, but handles its commands
            return None

    def _deliver(self, records: list[tuple[str, Record]]) -> None:
        self._recorded += records
        for consumer in self._consumers.values():
            # Each reads the log for itself: what one changes in an event, no other sees.
            consumer.handle(self._read(records))

    def _read(self, records: Iterable[tuple[str, Record]]) -> list[Recorded]:
        return [self._decoders[name].decode(record) for name, record in records]
