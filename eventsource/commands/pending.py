"""A command on its way: can be waited for by a thread or awaited by a coroutine; one implementation."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Generator
from datetime import datetime
from typing import Any

import structlog

from eventsource.commands.receipt import Receipt
from eventsource.errors import OutcomeUnknown

_log = structlog.get_logger("eventsource.client")


class Pending:
    """The answer to come. `result()` blocks, `await` suspends; both return a `Receipt` or raise what became of the command."""

    __slots__ = ("_callbacks", "_done", "_error", "_lock", "_receipt", "aggregate_id", "command_id", "sent_at")

    def __init__(self, command_id: str, aggregate_id: str, sent_at: datetime) -> None:
        self.command_id = command_id
        self.aggregate_id = aggregate_id
        self.sent_at = sent_at
        self._lock = threading.Lock()
        self._done = False
        self._receipt: Receipt | None = None
        self._error: Exception | None = None
        self._callbacks: list[Callable[[Pending], None]] = []

    def done(self) -> bool:
        """Whether the answer is there."""
        return self._done

    def add_done_callback(self, callback: Callable[[Pending], None]) -> None:
        """Calls `callback(pending)` when the answer is there: at once, or later in the client's thread. It must not block."""
        with self._lock:
            if not self._done:
                self._callbacks.append(callback)
                return
        callback(self)

    def result(self, timeout_seconds: float | None = None) -> Receipt:
        """The receipt. Blocks until the answer is there, or until the time that `submit` was given is over.

        Raises the domain's `Rejected`, `NotFound`, `AlreadyExists`, `VersionConflict`, `HandlerFailed`, `Expired`,
        `CommandIdReused`; `OutcomeUnknown` when no answer came in time, or within `timeout_seconds` if that is shorter.
        """
        if not self._done:
            arrived = threading.Event()
            self.add_done_callback(lambda _: arrived.set())
            if not arrived.wait(timeout_seconds):
                raise OutcomeUnknown(self.command_id, self.sent_at, timeout_seconds or 0.0)
        return self._outcome()

    def __await__(self) -> Generator[Any, None, Receipt]:
        loop = asyncio.get_running_loop()
        arrived: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            if not arrived.done():  # a cancelled wait leaves the command on its way
                arrived.set_result(None)

        def wake_in_loop(_: Pending) -> None:
            # The loop may be gone by the time the answer comes: then nobody waits any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(wake)

        self.add_done_callback(wake_in_loop)
        yield from arrived.__await__()
        return self._outcome()

    def resolve(self, receipt: Receipt | None, error: Exception | None = None) -> bool:
        """Called by the client with the answer; the first one counts. Returns whether this was the first."""
        with self._lock:
            if self._done:
                return False
            self._receipt, self._error = receipt, error
            self._done = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            try:
                callback(self)
            except Exception as raised:  # noqa: BLE001 - the caller's own code, in the client's thread: others wait for answers too
                _log.error("callback_failed", command_id=self.command_id, exc_info=raised)
        return True

    def _outcome(self) -> Receipt:
        if self._error is not None:
            raise self._error
        if self._receipt is None:
            raise OutcomeUnknown(self.command_id, self.sent_at, 0.0)
        return self._receipt
