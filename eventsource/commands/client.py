"""The command client: request and reply through the log. Safe to share between threads; does not survive a fork."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager
from copy import copy
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar
from uuid import UUID

from eventsource.clock import Clock, Ids, RandomIds, SystemClock
from eventsource.commands.answers import resolve_command, resolve_load
from eventsource.commands.arguments import (
    WhenFull,
    check_expected_version,
    check_repetition,
    check_required_version,
    check_when_full,
    key_of,
    token_of,
)
from eventsource.commands.builtin import APPEND, LOAD
from eventsource.commands.channel import Submission
from eventsource.commands.client_connection import ClientConnection
from eventsource.commands.defaults import NO_DEFAULTS
from eventsource.commands.history import AggregateHistory
from eventsource.commands.history_reader import read_history
from eventsource.commands.loaded import Loaded
from eventsource.commands.pending import Pending
from eventsource.commands.receipt import Receipt
from eventsource.consuming.definition import ModelReader, Readable
from eventsource.domain import Aggregate, Command, Event
from eventsource.errors import LoadUnanswered
from eventsource.log.token import Token

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from eventsource.app import App
    from eventsource.settings import Settings

C = TypeVar("C", bound=Command)
A = TypeVar("A", bound=Aggregate[Any])

_READ_SECONDS: Final = 10.0


class Client:
    """Sends commands to an app's aggregates and reads its read models. Made by `App.connect`; use it with `with` or `async with`.

    Connecting raises `BrokerUnavailable`, `AccessDenied`, `SettingsError`, `TopicMissing` or `TopicMismatch`.
    """

    def __init__(self, app: App, settings: Settings, *, clock: Clock | None = None, ids: Ids | None = None) -> None:
        self._defaults = NO_DEFAULTS
        self._is_view = False
        self._connection = ClientConnection(app, settings, clock or SystemClock(), ids or RandomIds())

    def bound(
        self,
        *,
        timeout: float | None = None,
        actor: str = "",
        correlation_id: str = "",
        causation_id: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> Client:
        """A view of this client with defaults for its requests: who acts, on whose behalf, and how long it may take.

        What a call gives itself goes before them; metadata is merged, and the call's wins under the same name. `bound` of a view
        adds to its defaults. `timeout`, in seconds, is also that of `wait_for` and `read`. A view costs nothing and shares
        everything with its client; to close it closes nothing. Raises `InvalidArgument`.
        """
        view = copy(self)
        view._is_view = True
        view._defaults = self._defaults.bound(
            timeout=timeout,
            actor=actor,
            correlation_id=correlation_id,
            causation_id=causation_id,
            metadata=metadata,
        )
        return view

    # --- sending -------------------------------------------------------------------------------------------------

    def send(
        self,
        aggregate: type[Aggregate[C]],
        aggregate_id: str | UUID,
        command: C,
        *,
        expected_version: int | None = None,
        command_id: str | None = None,
        sent_at: datetime | None = None,
        timeout: float | None = None,
        actor: str = "",
        correlation_id: str = "",
        causation_id: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> Receipt:
        """Sends a command and blocks until it is answered, for at most `timeout` seconds (default: the client's setting).

        Raises the domain's own `Rejected` subclass, `NotFound`, `AlreadyExists`, `VersionConflict`, `HandlerFailed`,
        `Expired`, `CommandIdReused`; or `OutcomeUnknown`, which carries the `command_id` and `sent_at` to send it again with:
        the same id takes effect at most once on this aggregate (owners remember ids by partition: use an id for one aggregate only). And
        what `submit` raises.
        """
        return self.submit(
            aggregate,
            aggregate_id,
            command,
            expected_version=expected_version,
            command_id=command_id,
            sent_at=sent_at,
            timeout=timeout,
            actor=actor,
            correlation_id=correlation_id,
            causation_id=causation_id,
            metadata=metadata,
        ).result()

    def submit(
        self,
        aggregate: type[Aggregate[C]],
        aggregate_id: str | UUID,
        command: C,
        *,
        expected_version: int | None = None,
        command_id: str | None = None,
        sent_at: datetime | None = None,
        timeout: float | None = None,
        actor: str = "",
        correlation_id: str = "",
        causation_id: str = "",
        metadata: Mapping[str, str] | None = None,
        when_full: WhenFull = "wait",
    ) -> Pending:
        """Sends a command without waiting for its answer. Commands to one aggregate are handled in the order of the calls.

        When as many requests are in flight as the client allows, or as many bytes are queued, it waits for up to `timeout`
        seconds, or with `when_full="raise"` not at all; then raises `Backlogged`, and nothing was sent. Raises `InvalidArgument`,
        `DefinitionError` for a command that the aggregate does not take, `EncodeError`, `MessageTooLarge`.

        The first command of a class waits until its schema is registered, for as long; then raises `BrokerUnavailable`, and nothing
        was sent. With `when_full="raise"` it does not wait: it is sent when the schema is registered, in the order of the calls, and
        what registering raises is raised by the `Pending`.
        """
        connection = self._connection
        connection.check_usable()
        connection.receivers.check_command(aggregate, command)
        check_expected_version(expected_version)
        check_repetition(command_id, sent_at)
        check_when_full(when_full)
        timeout_seconds = self._timeout_seconds(timeout)
        codecs, registering = connection.codecs, None
        if when_full == "wait":
            timeout_seconds -= codecs.register_command(type(command), timeout_seconds)
        else:
            registering = codecs.begin_command(type(command))
        submission = Submission(
            connection.routes.of(aggregate),
            key_of(aggregate, aggregate_id),
            command.message_name,
            codecs.command_ahead(command),
            timeout_seconds,
            when_full,
            expected_version,
            self._defaults.trail(correlation_id, causation_id, actor, metadata),
            codecs.command_form(type(command)),
        )
        return self._submit(aggregate, submission, command_id, sent_at, registering)

    def append(
        self,
        aggregate: type[Aggregate[Any]],
        aggregate_id: str | UUID,
        events: Iterable[Event],
        *,
        expected_version: int,
        command_id: str | None = None,
        sent_at: datetime | None = None,
        timeout: float | None = None,
        actor: str = "",
        correlation_id: str = "",
        causation_id: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> Receipt:
        """Adds events that the caller decided on, all or none, if the aggregate is still at `expected_version` (0: does not exist).

        Blocks as `send` does, and is deduplicated by its `command_id` as a command is. The owner applies the events and checks
        invariants before anything is written. Takes 1 to 1,000 events.

        Raises `VersionConflict` with the actual version, `HandlerFailed` when an event cannot be applied, `Expired`,
        `CommandIdReused`, `OutcomeUnknown`; `DefinitionError` when an event is none of the aggregate's, and what `submit` raises.
        """
        return self.submit_append(
            aggregate,
            aggregate_id,
            events,
            expected_version=expected_version,
            command_id=command_id,
            sent_at=sent_at,
            timeout=timeout,
            actor=actor,
            correlation_id=correlation_id,
            causation_id=causation_id,
            metadata=metadata,
        ).result()

    def submit_append(
        self,
        aggregate: type[Aggregate[Any]],
        aggregate_id: str | UUID,
        events: Iterable[Event],
        *,
        expected_version: int,
        command_id: str | None = None,
        sent_at: datetime | None = None,
        timeout: float | None = None,
        actor: str = "",
        correlation_id: str = "",
        causation_id: str = "",
        metadata: Mapping[str, str] | None = None,
        when_full: WhenFull = "wait",
    ) -> Pending:
        """As `append`, without waiting for the answer; `when_full` as in `submit`."""
        connection = self._connection
        connection.check_usable()
        connection.receivers.check(aggregate)
        check_required_version(expected_version)
        check_repetition(command_id, sent_at)
        check_when_full(when_full)
        timeout_seconds = self._timeout_seconds(timeout)
        codecs, registering = connection.codecs, None
        if when_full == "wait":
            timeout_seconds -= codecs.register_events(aggregate, timeout_seconds)
        else:
            registering = codecs.begin_events(aggregate)
        submission = Submission(
            connection.routes.of(aggregate),
            key_of(aggregate, aggregate_id),
            APPEND,
            codecs.append_ahead(aggregate, events),
            timeout_seconds,
            when_full,
            expected_version,
            self._defaults.trail(correlation_id, causation_id, actor, metadata),
            codecs.append_form(aggregate),
        )
        return self._submit(aggregate, submission, command_id, sent_at, registering)

    def _submit(
        self,
        aggregate: type[Aggregate[Any]],
        submission: Submission,
        command_id: str | None,
        sent_at: datetime | None,
        registering: Future[None] | None,
    ) -> Pending:
        channel, route = self._connection.channel, submission.route
        pending: Pending = Pending(
            command_id if command_id is not None else channel.new_id(),
            submission.key.decode(),
            channel.sent_at(sent_at),
        )
        answer = partial(resolve_command, pending, aggregate, route.events_topic_id)
        return channel.submit(submission, pending, answer, registering)

    # --- loading -------------------------------------------------------------------------------------------------

    def load(
        self,
        aggregate: type[A],
        aggregate_id: str | UUID,
        *,
        at_version: int | None = None,
        at_time: datetime | None = None,
        timeout: float | None = None,
    ) -> Loaded[A]:
        """An aggregate's state and version, as its owner has it after all requests before; blocks for at most `timeout` seconds.

        Raises `NotFound`; `LoadFailed`, a `HandlerFailed`, when the aggregate is stopped or its state cannot be sent; `LoadUnanswered`,
        an `OutcomeUnknown`, when no answer came in time: a load changes nothing and may be repeated; `DecodeError` when the worker runs
        another version of the class that does not fit this one; and what `submit` raises.

        With `at_version` (from 1) or `at_time` (aware; events of that very time count), the state of then, made from the events
        in the log. That needs no worker, and costs reading the aggregate's partition from its beginning: hundreds of thousands of
        events in a second. It waits for transactions that are open at the moment. Raises `NotFound` when the aggregate did not
        exist yet, `VersionNotReached`, `ForkDetected` when the log has a gap or a repeat in its versions, `DecodeError` or
        `LoadFailed` when one of the events cannot be read or applied, `ReadTimedOut`, `BrokerUnavailable`, `InvalidArgument`.
        """
        if at_version is None and at_time is None:
            return self.submit_load(aggregate, aggregate_id, timeout=timeout).result()
        connection = self._connection
        connection.check_usable()
        connection.receivers.check(aggregate)
        route = connection.routes.of(aggregate)
        key = key_of(aggregate, aggregate_id)
        decoder = connection.codecs.decoder(aggregate)
        history = AggregateHistory(aggregate, str(aggregate_id), decoder, at_version=at_version, at_time=at_time)
        read_history(
            history,
            key,
            (route.events, route.partition(key)),
            connection.settings.kafka.client_config(),
            admin=connection.admin,
            timeout_seconds=self._timeout_seconds(timeout),
            clock=connection.clock,
        )
        return history.loaded(route.events_topic_id)

    def submit_load(
        self,
        aggregate: type[A],
        aggregate_id: str | UUID,
        *,
        timeout: float | None = None,
        when_full: WhenFull = "wait",
    ) -> Pending[Loaded[A]]:
        """As `load`, without waiting for the answer, such as `await client.submit_load(Account, "7")`; `when_full` as in `submit`."""
        connection = self._connection
        connection.check_usable()
        connection.receivers.check(aggregate)
        channel, codec = connection.channel, connection.codecs.state(aggregate)
        submission = Submission(
            connection.routes.of(aggregate),
            key_of(aggregate, aggregate_id),
            LOAD,
            b"",
            self._timeout_seconds(timeout),
            when_full,
        )
        pending: Pending[Loaded[A]] = Pending(
            channel.new_id(), submission.key.decode(), channel.sent_at(None), unanswered=LoadUnanswered
        )
        patience_seconds = connection.settings.kafka.request_timeout_seconds
        topic_id = submission.route.events_topic_id
        return channel.submit(submission, pending, partial(resolve_load, pending, codec, topic_id, patience_seconds))

    def _timeout_seconds(self, given: float | None) -> float:
        return self._defaults.timeout(given, self._connection.settings.client.timeout_seconds)

    # --- reading -------------------------------------------------------------------------------------------------

    def wait_for(self, token: Token | str, model: Readable, timeout: float | None = None) -> None:
        """Blocks until the read model shows what the token stands for, for at most `timeout` seconds (10 by default).

        Raises `NotCaughtUp` when it does not in time, `DatabaseUnavailable`, and `InvalidArgument` for what is no read model or no
        token, and for a token of a topic that the read model is not built from.
        """
        self._reader(model).wait_for(token_of(token), self._defaults.timeout(timeout, _READ_SECONDS))

    def read(
        self, model: Readable, *, at_least: Token | str | None = None, timeout: float | None = None
    ) -> AbstractContextManager[Session]:
        """A read-only SQLAlchemy session on a read model, once it shows what `at_least` stands for.

        Raises what `wait_for` raises.
        """
        reader = self._reader(model)
        if at_least is not None:
            self.wait_for(at_least, model, timeout)
        return reader.session()

    def _reader(self, model: Readable) -> ModelReader:
        self._connection.check_usable()
        return self._connection.reader(model)

    # --- life ----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Sends what is queued, gives up on what is unanswered (`OutcomeUnknown`), and closes all connections.

        A callback of a request may call it too: then its thread ends right after it. A view of `bound` closes nothing.
        """
        if not self._is_view:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import asyncio

        await asyncio.to_thread(self.close)
