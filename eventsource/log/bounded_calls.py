"""Calls into librdkafka that may never return, each with an end all the same."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any


class NeverReturned(Exception):
    """Raised when a call was given up. Its thread stays in it; what it works on must not be used again."""


class BoundedCalls:
    """Makes one caller's calls in a thread of its own, which begins with the first.

    librdkafka's `send_offsets_to_transaction` forgets its time-out where the group's coordinator went away, and may wait for ever
    (its issues 5456 and 5511; 2.16 has both).
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...], Future[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._thread: threading.Thread | None = None

    def call(self, seconds: float, function: Callable[..., Any], *arguments: Any) -> Any:
        """What the function returns or raises. Raises `NeverReturned` after so many seconds without either."""
        if self._thread is None:
            # A daemon: where it never returns, the process must end all the same.
            self._thread = threading.Thread(target=self._run, name="bounded calls", daemon=True)
            self._thread.start()
        future: Future[Any] = Future()
        self._calls.put((function, arguments, future))
        try:
            return future.result(seconds)
        except FutureTimeout:
            if future.done():  # it was the function's own
                raise
            raise NeverReturned from None

    def close(self) -> None:
        """Lets the thread end as soon as it can."""
        self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            function, arguments, future = call
            try:
                future.set_result(function(*arguments))
            except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
                future.set_exception(error)
            del call, function, arguments, future  # or the last producer would live as long as this thread waits
