"""Keeps runners at work, a thread for each, and drains all of them when the worker is stopped.

A runner that fails is tried again and the others go on; with `fail_fast`, the first error that does not pass ends the worker.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from queue import Empty, SimpleQueue
from typing import Final

import structlog

from eventsource.clock import Clock, SystemClock
from eventsource.errors import DrainTimeout
from eventsource.failure import Jitter, describe, traceback_of
from eventsource.supervised import RunnerFactory, RunnerStatus, SupervisedRunner

_log = structlog.get_logger("eventsource.worker")

_TICK_SECONDS: Final = 0.2
# The loop turns every tick; one that has not for so long hangs.
_HANGS_AFTER_SECONDS: Final = 10.0


class Supervisor:
    """Runs named runners until it is stopped, or with `fail_fast` until one of them fails for good.

    `run` blocks in the caller's thread. `stop` may be called from any thread and from a signal handler.
    """

    def __init__(
        self,
        factories: Mapping[str, RunnerFactory],
        *,
        drain_seconds: float,
        fail_fast: bool = False,
        clock: Clock | None = None,
        jitter: Jitter = random.uniform,
    ) -> None:
        self._clock = clock if clock is not None else SystemClock()
        self._drain_seconds = drain_seconds
        # SimpleQueue.put is reentrant: an Event set by a signal handler can deadlock with the wait that it interrupts.
        self._inbox: SimpleQueue[tuple[str | None, Exception | None]] = SimpleQueue()
        self._runners = {
            name: SupervisedRunner(name, factory, self._clock, jitter, self._note_end, fail_fast=fail_fast)
            for name, factory in factories.items()
        }
        self._turned: float | None = None
        self._stopping = False
        self._was_ready = False

    def run(self, on_ready: Callable[[], None] | None = None) -> None:
        """Starts all runners and waits; `on_ready` is called once, when all are ready. Returns after an orderly drain.

        Raises `DrainTimeout` if a runner did not end in time, the error of one that failed while it was being stopped, and with
        `fail_fast` that of the runner that failed first, once the others are drained.
        """
        for runner in self._runners.values():
            runner.start()
        try:
            failure = self._supervise(on_ready)
        except BaseException:
            self._drain(None)
            raise
        self._drain(failure)
        if failure is not None:
            raise failure

    def _note_end(self, name: str, error: Exception | None) -> None:
        self._inbox.put((name, error))

    def stop(self) -> None:
        """Begins an orderly drain."""
        self._inbox.put((None, None))

    def statuses(self) -> dict[str, RunnerStatus]:
        """What each runner is doing."""
        return {name: runner.status() for name, runner in self._runners.items()}

    def ready(self) -> bool:
        """Whether all runners are at work and have their partitions, and nothing is being stopped."""
        return not self._stopping and all(status.ready for status in self.statuses().values())

    def alive(self) -> bool:
        """Whether the loop that watches the runners turns, and no runner hangs for good.

        Before the loop begins nothing hangs that would not end by itself.
        """
        turned = self._turned
        turns = turned is None or self._clock.monotonic() - turned < _HANGS_AFTER_SECONDS
        return turns and all(runner.alive() for runner in self._runners.values())

    def _supervise(self, on_ready: Callable[[], None] | None) -> Exception | None:
        while True:
            self._turned = now = self._clock.monotonic()
            for runner in self._runners.values():
                runner.look(now)
            if not self._was_ready and self.ready():
                self._was_ready = True
                _log.info("worker_is_ready", runners=sorted(self._runners))
                if on_ready is not None:
                    on_ready()
            try:
                name, error = self._inbox.get(timeout=_TICK_SECONDS)
            except Empty:
                continue
            if name is None:
                return None
            if error is not None:
                _log_failure(name, error)
                return error

    def _drain(self, failure: Exception | None) -> None:
        self._stopping = True
        _log.info("worker_drains", longest_seconds=self._drain_seconds)
        for runner in self._runners.values():
            runner.stop()
        deadline = self._clock.monotonic() + self._drain_seconds
        for runner in self._runners.values():
            while runner.thread.is_alive() and self._clock.monotonic() < deadline:
                self._turned = self._clock.monotonic()
                runner.thread.join(_TICK_SECONDS)
        late = [runner.name for runner in self._runners.values() if runner.thread.is_alive()]
        failed_late = self._failures_left()
        if late:
            error = DrainTimeout(late, self._drain_seconds)
            if failure is None:
                raise error
            _log.error("worker_not_drained", error=str(error))
        elif failure is None and failed_late is not None:
            raise failed_late
        else:
            _log.info("worker_drained")

    def _failures_left(self) -> Exception | None:
        """What went wrong while draining: each is logged, the first is returned."""
        first: Exception | None = None
        while True:
            try:
                name, error = self._inbox.get_nowait()
            except Empty:
                return first
            if name is not None and error is not None:
                _log_failure(name, error)
                first = first if first is not None else error


def _log_failure(name: str, error: Exception) -> None:
    _log.error("runner_failed", runner=name, error=describe(error), exc_info=traceback_of(error))
