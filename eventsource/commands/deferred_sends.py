"""Commands that wait for their schema: sent in order as soon as it is registered, while nobody waits for that."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple

from eventsource.errors import Backlogged


class _Deferred(NamedTuple):
    registering: Future[None] | None
    send: Callable[[], object]
    fail: Callable[[BaseException], object]


class DeferredSends:
    """Safe to share between threads.

    What is sent to an address, such as an aggregate, while something waits there waits behind it, whether or not its own
    schema is registered. `send` and `fail` are called in the thread that registers, and must not raise.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._count = 0
        self._lock = threading.Lock()
        self._waiting: dict[Hashable, deque[_Deferred]] = {}
        self._sending: set[Hashable] = set()

    def __len__(self) -> int:
        return self._count

    def defer(
        self,
        address: Hashable,
        registering: Future[None] | None,
        send: Callable[[], object],
        fail: Callable[[BaseException], object],
    ) -> bool:
        """Whether it is sent later. False: nothing waits at the address, and the caller sends it.

        Raises `Backlogged` when as many wait as may: requests that have expired meanwhile are among them.

        `registering` is the registration of its schema, None where that is done.
        """
        # Read without the lock: what was deferred before this call is already there.
        if registering is None and not self._waiting:
            return False
        with self._lock:
            waiting = self._waiting.get(address)
            if waiting is None and registering is None:
                return False
            if self._count >= self._limit:
                raise Backlogged(self._count)
            if waiting is None:
                waiting = self._waiting[address] = deque()
            self._count += 1
            waiting.append(_Deferred(registering, send, fail))
        if registering is not None:
            registering.add_done_callback(partial(self._advance, address))
        return True

    def _advance(self, address: Hashable, _: Any = None) -> None:
        while (head := self._take(address)) is not None:
            error = head.registering.exception() if head.registering is not None else None
            try:
                if error is None:
                    head.send()
                else:
                    head.fail(error)
            finally:
                self._drop(address)

    def _take(self, address: Hashable) -> _Deferred | None:
        """The next one, which stays at the address until it is sent; None where another thread sends it, or it cannot be sent yet."""
        with self._lock:
            waiting = self._waiting.get(address)
            if not waiting or address in self._sending:
                return None
            head = waiting[0]
            if head.registering is not None and not head.registering.done():
                return None
            self._sending.add(address)
            return head

    def _drop(self, address: Hashable) -> None:
        with self._lock:
            self._sending.discard(address)
            self._count -= 1
            waiting = self._waiting[address]
            waiting.popleft()
            if not waiting:
                del self._waiting[address]
