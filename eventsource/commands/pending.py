"""A request on its way: can be waited for by a thread or awaited by a coroutine; one implementation."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Generator
from datetime import datetime
from typing import Any, Generic

import structlog
from typing_extensions import TypeVar

from eventsource.commands.arguments import seconds_of
from eventsource.commands.receipt import Receipt
from eventsource.errors import OutcomeUnknown, Retriable

_log = structlog.get_logger("eventsource.client")

R = TypeVar("R", default=Receipt)


class Pending(Generic[R]):
    """The answer to come. `result()` blocks, `await` suspends; both return the answer or raise what became of the request.

    The answer to a command is a `Receipt`, that to a load a `Loaded`.
    """

    __slots__ = (
        "_answer",
        "_callbacks",
        "_done",
        "_error",
        "_lock",
        "_read",
        "_unanswered",
        "_unsent",
        "aggregate_id",
        "command_id",
        "sent_at",
    )

    def __init__(
        self,
        command_id: str,
        aggregate_id: str,
        sent_at: datetime,
        *,
        unanswered: type[OutcomeUnknown] = OutcomeUnknown,
    ) -> None:
        self.command_id = command_id
        self.aggregate_id = aggregate_id
        self.sent_at = sent_at
        self._unanswered = unanswered
        self._lock = threading.Lock()
        self._done = False
        self._answer: R | None = None
        self._read: Callable[[], R] | None = None
        self._error: Exception | None = None
        self._unsent: Exception | None = None
        self._callbacks: list[Callable[[Pending[R]], None]] = []

    def done(self) -> bool:
        """Whether the answer is there."""
        return self._done

    def add_done_callback(self, callback: Callable[[Pending[R]], None]) -> None:
        """Calls `callback(pending)` when the answer is there: at once, or later in the client's thread. It must not block.

        What it raises in the client's thread is logged, `SystemExit` and `CancelledError` too. It may close the client.
        """
        with self._lock:
            if not self._done:
                self._callbacks.append(callback)
                return
        callback(self)

    def result(self, timeout_seconds: float | None = None) -> R:
        """The answer. Blocks until it is there, or until the time that `submit` was given is over.

        Raises the domain's `Rejected`, `NotFound`, `AlreadyExists`, `VersionConflict`, `HandlerFailed`, `Expired`,
        `CommandIdReused`; `OutcomeUnknown` when no answer came in time, or within `timeout_seconds` if that is shorter;
        `InvalidArgument` for a `timeout_seconds` that is no number from 0 to seven days.
        """
        if timeout_seconds is not None:
            seconds_of(timeout_seconds)
        if not self._done:
            arrived = threading.Event()
            self.add_done_callback(lambda _: arrived.set())
            if not arrived.wait(timeout_seconds):
                raise self.unanswered(timeout_seconds or 0.0)
        return self._outcome()

    def __await__(self) -> Generator[Any, None, R]:
        loop = asyncio.get_running_loop()
        arrived: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            if not arrived.done():  # a cancelled wait leaves the request on its way
                arrived.set_result(None)

        def wake_in_loop(_: Pending[R]) -> None:
            # The loop may be gone by the time the answer comes: then nobody waits any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(wake)

        self.add_done_callback(wake_in_loop)
        yield from arrived.__await__()
        if self._read is not None:
            return (yield from asyncio.to_thread(self._outcome).__await__())
        return self._outcome()

    # --- for the client ------------------------------------------------------------------------------------------

    def resolve(self, answer: R | None, error: Exception | None = None) -> bool:
        """Gives the answer, or the error that took its place; the first one counts. Returns whether this was the first."""
        return self._resolve(answer, None, error)

    def resolve_with(self, read: Callable[[], R]) -> bool:
        """Gives an answer that takes long to read: `read` is called by whoever asks for it first, never by the client's thread.

        What it raises is raised there; after a `Retriable` one it is called again when the answer is asked for again.
        """
        return self._resolve(None, read, None)

    def hold(self, error: Exception) -> None:
        """It is not sent yet: should it expire before `release`, it raises this error in the place of `OutcomeUnknown`."""
        self._unsent = error

    def release(self) -> bool:
        """It is sent now; False where it has its answer already, such as that it expired, and must not be sent."""
        with self._lock:
            if self._done:
                return False
            self._unsent = None
            return True

    def expire(self, waited_seconds: float) -> bool:
        """Its time is over. Returns whether it had no answer before."""
        return self._resolve(None, None, self.unanswered(waited_seconds), expired=True)

    def unanswered(self, waited_seconds: float) -> OutcomeUnknown:
        """The error of a request that got no answer."""
        return self._unanswered(self.command_id, self.sent_at, waited_seconds)

    def _resolve(
        self, answer: R | None, read: Callable[[], R] | None, error: Exception | None, *, expired: bool = False
    ) -> bool:
        with self._lock:
            if self._done:
                return False
            if expired and self._unsent is not None:
                error = self._unsent
            self._answer, self._read, self._error = answer, read, error
            self._done = True
            callbacks, self._callbacks = self._callbacks, []
        interrupted: BaseException | None = None
        for callback in callbacks:
            try:
                callback(self)
            except BaseException as raised:  # noqa: BLE001 - the caller's own code, in the client's thread: others wait for answers too
                _log.error("callback_failed", command_id=self.command_id, exc_info=raised)
                if not isinstance(raised, Exception) and threading.current_thread() is threading.main_thread():
                    interrupted = interrupted or raised
        if interrupted is not None:
            raise interrupted  # such as Ctrl-C: the main thread is the caller's, never the client's
        return True

    def _outcome(self) -> R:
        if self._read is not None:
            self._read_once()
        if self._error is not None:
            raise self._error
        if self._answer is None:
            raise self.unanswered(0.0)
        return self._answer

    def _read_once(self) -> None:
        with self._lock:
            if self._read is None:
                return
            try:
                self._answer = self._read()
            except Retriable:
                raise
            except Exception as error:  # noqa: BLE001 - kept: everyone who asks is told
                self._error = error
            self._read = None
