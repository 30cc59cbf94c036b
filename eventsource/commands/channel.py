"""The way to the partition owners and back: requests out through the commands topics, answers in through the replies topic."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from eventsource.clock import Clock, Ids
from eventsource.commands.arguments import WhenFull, check_when_full
from eventsource.commands.content import equal_hash
from eventsource.commands.deferred_sends import DeferredSends
from eventsource.commands.in_flight import Content
from eventsource.commands.observed import NOT_SENT, ObservedRequest
from eventsource.commands.pending import Pending
from eventsource.commands.reply import Reply
from eventsource.commands.requests import Requests
from eventsource.commands.routes import Route
from eventsource.commands.sender import CommandSender
from eventsource.errors import BrokerUnavailable, LogError
from eventsource.log.admin import LogAdmin
from eventsource.log.headers import EMPTY_TRAIL, CommandHeaders, Trail, body_hash, command_headers
from eventsource.log.record import Outgoing
from eventsource.log.recorded import ms_from_time
from eventsource.names import Names
from eventsource.schemas import Canonical
from eventsource.settings import Settings
from eventsource.telemetry import ClientTelemetry

R = TypeVar("R")


class Submission(NamedTuple):
    """A request to an aggregate, and for how long its answer is waited for.

    `form` gives equal values equal bytes; None where they have them anyway.
    """

    route: Route
    key: bytes
    type: str
    value: bytes
    timeout_seconds: float
    when_full: WhenFull
    expected_version: int | None = None
    trail: Trail = EMPTY_TRAIL
    form: Canonical | None = None


class Channel:
    """Safe to share between threads."""

    def __init__(self, settings: Settings, names: Names, admin: LogAdmin, *, clock: Clock, ids: Ids) -> None:
        kafka = settings.kafka
        self._clock = clock
        self._ids = ids
        self._source = f"/{names.prefix}/client"
        self._telemetry = ClientTelemetry()
        self._flush_seconds = kafka.request_timeout_seconds
        self._deferred = DeferredSends(settings.client.max_in_flight)
        self._requests = Requests(
            kafka.client_config(),
            names.replies,
            admin,
            client_id=UUID(ids.new()).bytes,
            max_in_flight=settings.client.max_in_flight,
            clock=clock,
        )
        self._sender = CommandSender.connect(
            kafka.client_config(), max_messages=settings.client.max_in_flight, clock=clock
        )
        self._requests.start(self._sender.serve)

    def new_id(self) -> str:
        """A fresh command id."""
        return self._ids.new()

    def submit(
        self,
        submission: Submission,
        pending: Pending[R],
        answer: Callable[[Reply], object],
        registering: Future[None] | None = None,
    ) -> Pending[R]:
        """Sends a request; `answer` resolves `pending` with the reply. Returns the one that is on its way already under its id, if so.

        With `registering`, it is sent once that is done, behind what waits for the same aggregate and before what comes later.

        Raises `InvalidArgument`, `Backlogged`, `CommandIdReused`, `ClientClosed`, `EncodeError`, `MessageTooLarge`, `LogError`: nothing
        was sent.
        """
        route, key, type_, value, timeout_seconds, when_full, expected_version, trail, form = submission
        check_when_full(when_full)
        wait = when_full == "wait"
        equal = equal_hash(key, type_, value, form)
        content = Content(route.topic_crc, body_hash(key, type_, value), expected_version, equal)
        observed = ObservedRequest(self._telemetry, self._clock, route.aggregate, answer)
        taken = self._requests.in_flight.enter(pending, content, observed, timeout_seconds, wait=wait)
        if taken.pending is not pending:  # it is on its way already, and its answer serves both
            return taken.pending
        try:
            headers = command_headers(
                CommandHeaders(
                    command_id=pending.command_id,
                    type=type_,
                    source=self._source,
                    sent_at_ms=ms_from_time(pending.sent_at),
                    expected_version=expected_version,
                    reply_partition=self._requests.partition,
                    client_id=self._requests.client_id,
                    trail=trail,
                    traceparent=observed.begin(pending, type_),
                )
            )
            outgoing = Outgoing(route.commands, route.partition(key), key, value, headers)
            send = partial(
                self._sender.send, outgoing, partial(self._undelivered, pending, timeout_seconds), taken.deadline
            )
            if not self._defer(pending, observed, send, (route.commands, key), registering):
                send(wait=wait)
        except Exception as error:
            # Whoever shares the answer must hear of it too.
            self._fail(pending, observed, error)
            raise
        return pending

    def _defer(
        self,
        pending: Pending[Any],
        observed: ObservedRequest,
        send: Callable[..., object],
        address: tuple[str, bytes],
        registering: Future[None] | None,
    ) -> bool:
        """Whether the caller must not send it: it is sent later, see `DeferredSends`, or its time was over before that was clear."""
        if registering is None and not len(self._deferred):
            return False
        pending.hold(
            BrokerUnavailable(
                "the schema of the command, or of one before it to the same aggregate, was not registered in time, so nothing was sent: "
                "check that the brokers run, and send it again"
            )
        )
        later = partial(self._send_later, pending, observed, send)
        if self._deferred.defer(address, registering, later, partial(self._fail, pending, observed)):
            return True
        # Where it has expired meanwhile, its error says that nothing was sent.
        return not pending.release()

    def _send_later(self, pending: Pending[Any], observed: ObservedRequest, send: Callable[..., object]) -> None:
        if not pending.release():  # it has expired, or the client was closed
            return
        try:
            send(wait=True)
        except Exception as error:  # noqa: BLE001 - raised where the answer is waited for
            self._fail(pending, observed, error)

    def _fail(self, pending: Pending[Any], observed: ObservedRequest, error: BaseException) -> None:
        observed.outcome = NOT_SENT
        reported = (
            error if isinstance(error, Exception) else LogError(f"the command was not sent: {error!r}: send it again")
        )
        self._requests.fail(pending, reported)

    def _undelivered(self, pending: Pending[Any], timeout_seconds: float) -> None:
        # It may have reached the log all the same: only its own id can tell.
        self._requests.fail(pending, pending.unanswered(timeout_seconds))

    def sent_at(self, given: datetime | None) -> datetime:
        """When a command was sent first: now, unless it was sent before."""
        return self._clock.now() if given is None else given

    def close(self) -> None:
        """Sends what is queued, gives up on what is unanswered (`OutcomeUnknown`), and closes the connections."""
        with ExitStack() as closing:
            closing.callback(self._sender.close)
            closing.callback(self._requests.close)
            self._sender.flush(self._flush_seconds)
