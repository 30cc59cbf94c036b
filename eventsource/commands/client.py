"""The command client: request and reply through the log. Safe to share between threads; does not survive a fork."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar
from uuid import UUID

from eventsource.clock import Clock, Ids, RandomIds, SystemClock
from eventsource.commands.answers import answer_of, loaded_from
from eventsource.commands.arguments import (
    Receivers,
    WhenFull,
    check_expected_version,
    check_repetition,
    check_required_version,
    key_of,
    no_read_model,
    seconds_of,
    token_of,
    trail_of,
)
from eventsource.commands.builtin import APPEND, LOAD
from eventsource.commands.channel import Channel, Submission
from eventsource.commands.client_codecs import ClientCodecs
from eventsource.commands.history import AggregateHistory
from eventsource.commands.history_reader import read_history
from eventsource.commands.loaded import Loaded
from eventsource.commands.pending import Pending
from eventsource.commands.receipt import Receipt
from eventsource.commands.reply import Reply
from eventsource.commands.routes import Routes
from eventsource.consuming.definition import ModelReader, Readable
from eventsource.domain import Aggregate, Command, Event
from eventsource.errors import ClientClosed, ForkedClient, LoadUnanswered
from eventsource.log.admin import LogAdmin
from eventsource.log.token import Token
from eventsource.schemas import KafkaSchemaStore, StateCodec

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from eventsource.app import App
    from eventsource.settings import Settings

C = TypeVar("C", bound=Command)
A = TypeVar("A", bound=Aggregate[Any])

_FIRST_USE_SECONDS: Final = 5.0


class Client:
    """Sends commands to an app's aggregates and reads its read models. Made by `App.connect`; use it with `with` or `async with`.

    Connecting raises `BrokerUnavailable`, `TopicMissing` or `TopicMismatch`.
    """

    def __init__(self, app: App, settings: Settings, *, clock: Clock | None = None, ids: Ids | None = None) -> None:
        self._app = app
        self._settings = settings
        self._clock = clock if clock is not None else SystemClock()
        names = app.names(settings.namespace)
        self._process_id = os.getpid()
        self._closed = False
        self._lock = threading.Lock()
        self._readers: dict[object, ModelReader] = {}
        kafka = settings.kafka
        config = kafka.client_config()
        admin = LogAdmin(config, request_timeout_seconds=kafka.request_timeout_seconds)
        self._routes = Routes.find(app, names, admin)
        self._receivers = Receivers(app)
        self._schemas = KafkaSchemaStore(
            names.schemas, config, request_timeout_seconds=kafka.request_timeout_seconds, clock=self._clock
        )
        self._codecs = ClientCodecs(self._schemas, self._clock)
        self._channel = Channel(settings, names, clock=self._clock, ids=ids if ids is not None else RandomIds())

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
        the same id takes effect at most once. And what `submit` raises.
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

        The first command of a class waits until its schema is registered, for as long, or with `when_full="raise"` for 5 s at
        most; then raises `BrokerUnavailable`, and nothing was sent.
        """
        self._check_usable()
        self._receivers.check_command(aggregate, command)
        check_expected_version(expected_version)
        timeout_seconds = self._timeout_seconds(timeout)
        timeout_seconds -= self._codecs.register_command(type(command), _patience(timeout_seconds, when_full))
        submission = Submission(
            self._routes.of(aggregate),
            key_of(aggregate, aggregate_id),
            command.message_name,
            self._codecs.command(command),
            timeout_seconds,
            when_full,
            expected_version,
            trail_of(correlation_id, causation_id, actor, metadata),
        )
        return self._submit(aggregate, submission, command_id, sent_at)

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
        self._check_usable()
        self._receivers.check(aggregate)
        check_required_version(expected_version)
        timeout_seconds = self._timeout_seconds(timeout)
        timeout_seconds -= self._codecs.register_events(aggregate, _patience(timeout_seconds, when_full))
        submission = Submission(
            self._routes.of(aggregate),
            key_of(aggregate, aggregate_id),
            APPEND,
            self._codecs.append(aggregate, events),
            timeout_seconds,
            when_full,
            expected_version,
            trail_of(correlation_id, causation_id, actor, metadata),
        )
        return self._submit(aggregate, submission, command_id, sent_at)

    def _submit(
        self,
        aggregate: type[Aggregate[Any]],
        submission: Submission,
        command_id: str | None,
        sent_at: datetime | None,
    ) -> Pending:
        check_repetition(command_id, sent_at)
        channel, route = self._channel, submission.route
        pending: Pending = Pending(
            command_id if command_id is not None else channel.new_id(),
            submission.key.decode(),
            channel.sent_at(sent_at),
        )
        return channel.submit(submission, pending, partial(_answer, pending, aggregate, route.events_topic_id))

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
        self._check_usable()
        self._receivers.check(aggregate)
        route = self._routes.of(aggregate)
        key = key_of(aggregate, aggregate_id)
        decoder = self._codecs.decoder(aggregate)
        history = AggregateHistory(aggregate, str(aggregate_id), decoder, at_version=at_version, at_time=at_time)
        read_history(
            history,
            key,
            (route.events, route.partition(key)),
            self._settings.kafka.client_config(),
            timeout_seconds=self._timeout_seconds(timeout),
            clock=self._clock,
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
        self._check_usable()
        self._receivers.check(aggregate)
        channel, codec = self._channel, self._codecs.state(aggregate)
        submission = Submission(
            self._routes.of(aggregate),
            key_of(aggregate, aggregate_id),
            LOAD,
            b"",
            self._timeout_seconds(timeout),
            when_full,
        )
        pending: Pending[Loaded[A]] = Pending(
            channel.new_id(), submission.key.decode(), channel.sent_at(None), unanswered=LoadUnanswered
        )
        patience_seconds = self._settings.kafka.request_timeout_seconds
        topic_id = submission.route.events_topic_id
        return channel.submit(submission, pending, partial(_answer_load, pending, codec, topic_id, patience_seconds))

    def _timeout_seconds(self, given: float | None) -> float:
        return self._settings.client.timeout_seconds if given is None else seconds_of(given)

    # --- reading -------------------------------------------------------------------------------------------------

    def wait_for(self, token: Token | str, model: Readable, timeout: float = 10.0) -> None:
        """Blocks until the read model shows what the token stands for, for at most `timeout` seconds.

        Raises `NotCaughtUp` when it does not in time, `DatabaseUnavailable`, `InvalidArgument`, and `DecodeError` for a text that
        is no token.
        """
        self._reader(model).wait_for(token_of(token), seconds_of(timeout))

    def read(
        self, model: Readable, *, at_least: Token | str | None = None, timeout: float = 10.0
    ) -> AbstractContextManager[Session]:
        """A read-only SQLAlchemy session on a read model, once it shows what `at_least` stands for.

        Raises what `wait_for` raises.
        """
        reader = self._reader(model)
        if at_least is not None:
            self.wait_for(at_least, model, timeout)
        return reader.session()

    def _reader(self, model: Readable) -> ModelReader:
        self._check_usable()
        if not callable(getattr(model, "reader", None)):
            raise no_read_model(model)
        with self._lock:
            reader = self._readers.get(model)
            if reader is None:
                reader = self._readers[model] = model.reader(self._app, self._settings)
            return reader

    # --- life ----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Sends what is queued, gives up on what is unanswered (`OutcomeUnknown`), and closes all connections."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        if os.getpid() != self._process_id:
            return  # the connections are the parent's
        self._channel.close()
        self._schemas.close()
        for reader in self._readers.values():
            reader.close()

    def _check_usable(self) -> None:
        if os.getpid() != self._process_id:
            raise ForkedClient(
                f"this client was connected in process {self._process_id} and does not survive a fork: connect in the child process, "
                "after the fork"
            )
        if self._closed:
            raise ClientClosed("this client is closed: connect again with app.connect()")

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


def _patience(timeout_seconds: float, when_full: WhenFull) -> float:
    return timeout_seconds if when_full == "wait" else min(timeout_seconds, _FIRST_USE_SECONDS)


def _answer(pending: Pending, aggregate: type[Aggregate[Any]], events_topic_id: bytes, reply: Reply) -> None:
    found = answer_of(reply, aggregate, pending.aggregate_id, events_topic_id)
    if isinstance(found, Receipt):
        pending.resolve(found)
    else:
        pending.resolve(None, found)


def _answer_load(
    pending: Pending[Loaded[A]], codec: StateCodec[A], events_topic_id: bytes, patience_seconds: float, reply: Reply
) -> None:
    aggregate_id = pending.aggregate_id
    pending.resolve_with(
        lambda: loaded_from(reply, codec, aggregate_id, events_topic_id, patience_seconds=patience_seconds)
    )
