"""The command client: request and reply through the log. Safe to share between threads; does not survive a fork."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, TypeVar
from uuid import UUID

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from eventsource.clock import Clock, Ids, RandomIds, SystemClock
from eventsource.commands.answers import answer_of
from eventsource.commands.pending import Pending
from eventsource.commands.receipt import Receipt
from eventsource.commands.requests import Requests
from eventsource.consuming.definition import ModelReader, Readable
from eventsource.domain import Aggregate, Command
from eventsource.errors import (
    Backlogged,
    ClientClosed,
    DefinitionError,
    EncodeError,
    EventSourceError,
    ForkedClient,
    LogError,
    MessageTooLarge,
    OutcomeUnknown,
    TopicMismatch,
    TopicMissing,
)
from eventsource.log.admin import LogAdmin
from eventsource.log.client_config import producer_config
from eventsource.log.headers import CommandHeaders, command_headers, make_trail
from eventsource.log.partitioner import aggregate_key, partition_for
from eventsource.log.recorded import ms_from_time
from eventsource.log.token import Token
from eventsource.schemas import KafkaSchemaStore, MessageCodec

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from eventsource.app import App
    from eventsource.settings import Settings

C = TypeVar("C", bound=Command)
WhenFull = Literal["wait", "raise"]


class _Route(NamedTuple):
    """Where an aggregate's commands go, and the topic whose positions its tokens name."""

    topic: str
    partitions: int
    events_topic_id: bytes


class Client:
    """Sends commands to an app's aggregates and reads its read models. Made by `App.connect`; use it with `with` or `async with`.

    Connecting raises `BrokerUnavailable`, `TopicMissing` or `TopicMismatch`.
    """

    def __init__(self, app: App, settings: Settings, *, clock: Clock | None = None, ids: Ids | None = None) -> None:
        self._app = app
        self._settings = settings
        self._clock = clock if clock is not None else SystemClock()
        self._ids = ids if ids is not None else RandomIds()
        self._names = app.names(settings.namespace)
        self._source = f"/{self._names.prefix}/client"
        self._process_id = os.getpid()
        self._closed = False
        self._lock = threading.Lock()
        self._readers: dict[object, ModelReader] = {}
        self._codecs: dict[type[Command], MessageCodec[Any]] = {}
        kafka = settings.kafka
        self._routes = self._check_topics()
        self._schemas = KafkaSchemaStore(self._names.schemas, kafka.client_config())
        self._requests = Requests(
            kafka.client_config(),
            self._names.replies,
            client_id=UUID(self._ids.new()).bytes,
            max_in_flight=settings.client.max_in_flight,
            clock=self._clock,
            request_timeout_seconds=kafka.request_timeout_seconds,
        )
        self._producer = Producer({**producer_config(kafka.client_config()), "delivery.report.only.error": True})
        self._requests.start(lambda: self._producer.poll(0))

    def _check_topics(self) -> dict[str, _Route]:
        kafka = self._settings.kafka
        admin = LogAdmin(kafka.client_config(), request_timeout_seconds=kafka.request_timeout_seconds)
        partitions = {name: self._app.partitions_of(cls) for name, cls in self._app.aggregates.items()}
        commands = {name: self._names.commands(name) for name in partitions}
        events = {name: self._names.events(name) for name in partitions}
        needed = {*commands.values(), *events.values(), self._names.replies, self._names.schemas}
        counts = admin.partition_counts(needed)
        missing = sorted(needed - set(counts))
        if missing:
            raise TopicMissing(
                f"topics are missing: {', '.join(missing)}: make them with `eventsource topics apply MODULE:APP`"
            )
        for name, topic in commands.items():
            if counts[topic] != partitions[name]:
                raise TopicMismatch(
                    f"{topic} has {counts[topic]} partitions, the app says {partitions[name]}: give the app "
                    f"partitions={counts[topic]}, or it would send commands to an owner that is none"
                )
        topic_ids = admin.topic_ids(events.values())
        return {name: _Route(commands[name], partitions[name], topic_ids[events[name]]) for name in partitions}

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
        the same id takes effect at most once.
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

        When as many requests are in flight as the client allows, it waits for a place for up to `timeout` seconds, or with
        `when_full="raise"` not at all; then raises `Backlogged`, and nothing was sent. Raises `EncodeError`,
        `MessageTooLarge`.
        """
        self._check_usable()
        name = aggregate.__definition__.name
        route = self._routes.get(name)
        if route is None:
            raise DefinitionError(f"aggregate {name!r} is not one of app {self._app.name!r}: add it to its aggregates")
        timeout_seconds = self._settings.client.timeout_seconds if timeout is None else timeout
        key = aggregate_key(aggregate_id)
        value = self._codec(command).encode(command)
        sent = self._clock.now() if sent_at is None else sent_at
        if sent.tzinfo is None:
            raise EncodeError(f"sent_at={sent} has no time zone: pass on the one of the error, or an aware time")
        pending = Pending(command_id if command_id is not None else self._ids.new(), str(aggregate_id), sent)
        headers = command_headers(
            CommandHeaders(
                command_id=pending.command_id,
                type=command.message_name,
                source=self._source,
                sent_at_ms=ms_from_time(sent),
                expected_version=expected_version,
                reply_partition=self._requests.partition,
                client_id=self._requests.client_id,
                trail=make_trail(correlation_id, causation_id, actor, metadata),
            )
        )
        taken = self._requests.enter(
            pending,
            (route.topic, key, value, expected_version),
            lambda reply: answer_of(reply, aggregate, pending.aggregate_id, route.events_topic_id),
            timeout_seconds,
            wait=when_full == "wait",
        )
        if taken is pending:  # otherwise it is on its way already, and its answer serves both
            self._produce(pending, route, key, value, headers)
        return taken

    def _produce(
        self, pending: Pending, route: _Route, key: bytes, value: bytes, headers: list[tuple[str, bytes]]
    ) -> None:
        def undelivered(error: KafkaError | None, _message: Message) -> None:
            if error is not None:
                # It may have reached the log all the same: only its own id can tell.
                self._requests.fail(pending, OutcomeUnknown(pending.command_id, pending.sent_at, 0.0))

        partition = partition_for(key, route.partitions)
        try:
            self._producer.produce(route.topic, value, key, partition, on_delivery=undelivered, headers=headers)  # type: ignore[arg-type]
        except Exception as error:
            # Whoever shares the answer must hear of it too.
            translated = self._not_sent(pending, value, error)
            self._requests.fail(pending, translated)
            raise translated from error

    def _not_sent(self, pending: Pending, value: bytes, error: Exception) -> EventSourceError:
        if isinstance(error, BufferError):
            return Backlogged(self._requests.in_flight)
        if isinstance(error, KafkaException) and error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
            return MessageTooLarge(
                f"command {pending.command_id} takes {len(value)} bytes, more than the broker accepts: store what is large elsewhere "
                "and keep a reference in the command"
            )
        if self._closed:
            return ClientClosed("this client is closed: connect again with app.connect()")
        return LogError(f"command {pending.command_id} was not sent: {error}; send it again")

    def _codec(self, command: Command) -> MessageCodec[Any]:
        codec = self._codecs.get(type(command))
        if codec is None:
            codec = self._codecs[type(command)] = MessageCodec(type(command), command.message_name, self._schemas)
        return codec

    # --- reading -------------------------------------------------------------------------------------------------

    def wait_for(self, token: Token | str, model: Readable, timeout: float = 10.0) -> None:
        """Blocks until the read model shows what the token stands for, for at most `timeout` seconds.

        Raises `NotCaughtUp` when it does not in time, `DatabaseUnavailable`.
        """
        self._reader(model).wait_for(Token.parse(token) if isinstance(token, str) else token, timeout)

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
        self._producer.flush(self._settings.kafka.request_timeout_seconds)
        self._requests.close()
        self._producer.close()
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
