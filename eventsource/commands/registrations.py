"""Registering schemas in the background: who needs one waits for it only as long as it wants to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol

from eventsource.clock import Clock
from eventsource.errors import BrokerUnavailable


class Registrable(Protocol):
    """What has a schema."""

    def register(self) -> None:
        """Stores the schema, acknowledged."""


class Registrations:
    """Safe to share between threads. One thread for each registration that is under way; what failed is tried again when it is needed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._under_way: dict[object, Future[None]] = {}
        self._done: set[object] = set()

    def ensure(
        self, key: object, name: str, codecs: Callable[[], Sequence[Registrable]], patience_seconds: float
    ) -> float:
        """Sees that schemas are registered, waiting for at most so long; returns the seconds that it took, 0 where they were.

        Raises `BrokerUnavailable` when they are not by then, and what registering or `codecs` raised.
        """
        if key in self._done:
            return 0.0
        began = self._clock.monotonic()
        registering = self.begin(key, codecs)
        if registering is not None:
            self._wait(registering, name, patience_seconds)
        return self._clock.monotonic() - began

    def begin(self, key: object, codecs: Callable[[], Sequence[Registrable]]) -> Future[None] | None:
        """The registration of these schemas, begun if it was not; None where they are registered. It never blocks."""
        if key in self._done:
            return None
        with self._lock:
            registering = self._under_way.get(key)
            if registering is None and key not in self._done:
                registering = self._under_way[key] = Future()
                threading.Thread(
                    target=self._register, args=(key, codecs, registering), name="eventsource schemas", daemon=True
                ).start()
        return registering

    def _wait(self, registering: Future[None], name: str, patience_seconds: float) -> None:
        try:
            registering.result(patience_seconds)
        except TimeoutError:
            if registering.done():
                raise
            raise BrokerUnavailable(
                f"the schema of {name} was not acknowledged within {patience_seconds:g} s, so nothing was sent: check that the brokers "
                "run, and send it again"
            ) from None

    def _register(self, key: object, codecs: Callable[[], Sequence[Registrable]], registering: Future[None]) -> None:
        try:
            for codec in codecs():
                codec.register()
        except BaseException as error:  # noqa: BLE001 - raised by whoever waits
            with self._lock:
                del self._under_way[key]
            registering.set_exception(error)
        else:
            with self._lock:
                self._done.add(key)
                del self._under_way[key]
            registering.set_result(None)
