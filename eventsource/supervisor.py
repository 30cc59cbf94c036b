"""Keeps runners at work: a thread for each, restarted after what may pass, and all drained when told or when one fails."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from queue import Empty, SimpleQueue
from typing import Final

import structlog

from eventsource.clock import Clock, SystemClock
from eventsource.consuming.definition import MayHang, Runner
from eventsource.errors import DrainTimeout, EventSourceError, Retriable, RunnerStopped

_log = structlog.get_logger("eventsource.worker")

_FIRST_WAIT_SECONDS: Final = 0.2
_LONGEST_WAIT_SECONDS: Final = 15.0
# A runner that worked for so long has recovered: its next failure is a new one.
_RECOVERED_SECONDS: Final = 30.0
_TICK_SECONDS: Final = 0.2
# The loop turns every tick; one that has not for so long hangs.
_HANGS_AFTER_SECONDS: Final = 10.0

RunnerFactory = Callable[[], Runner]
Jitter = Callable[[float, float], float]


class RunnerState(StrEnum):
    """What a runner is doing.

    starting → working → stopped, and working → waiting → starting after an error that may pass; failed is the end.
    """

    STARTING = "starting"
    WORKING = "working"
    WAITING = "waiting to restart"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class RunnerStatus:
    """A runner as the health page shows it. Ready means that it has its partitions and reads them."""

    state: RunnerState
    ready: bool
    restarts: int


class _Supervised:
    """One runner's thread. Its own thread writes the fields, others read them."""

    def __init__(
        self,
        name: str,
        factory: RunnerFactory,
        clock: Clock,
        jitter: Jitter,
        ended: Callable[[str, Exception | None], None],
    ) -> None:
        self.name = name
        self._factory = factory
        self._clock = clock
        self._jitter = jitter
        self._ended = ended
        self._runner: Runner | None = None
        self._state = RunnerState.STARTING
        self._restarts = 0
        self.thread = threading.Thread(target=self._work, name=f"runner {name}", daemon=True)
        self._stop = threading.Event()

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        self._stop.set()

    def status(self) -> RunnerStatus:
        runner, state = self._runner, self._state
        return RunnerStatus(
            state, state is RunnerState.WORKING and runner is not None and runner.ready(), self._restarts
        )

    def alive(self) -> bool:
        runner = self._runner
        return not isinstance(runner, MayHang) or runner.alive()

    def _work(self) -> None:
        error: Exception | None = None
        try:
            self._work_until_stopped()
        except Exception as failure:  # noqa: BLE001  it is handed to the supervisor, which ends the worker with it
            error = failure
        except BaseException as failure:  # noqa: BLE001  SystemExit and its like would end this thread and nothing else
            error = RunnerStopped(self.name, failure)
            error.__cause__ = failure
        self._runner = None
        self._state = RunnerState.STOPPED if error is None else RunnerState.FAILED
        self._ended(self.name, error)

    def _work_until_stopped(self) -> None:
        failures = 0
        while not self._stop.is_set():
            began = self._clock.monotonic()
            try:
                self._runner = self._factory()
                self._state = RunnerState.WORKING
                self._runner.run(self._stop)
            except Retriable as error:
                if self._stop.is_set():
                    _log.warning("runner_interrupted", runner=self.name, error=str(error))
                    return
                failures = 1 if self._clock.monotonic() - began > _RECOVERED_SECONDS else failures + 1
                self._wait(failures, error)
            else:
                if not self._stop.is_set():
                    raise RunnerStopped(self.name)

    def _wait(self, failures: int, error: Retriable) -> None:
        # Full jitter, so that many workers do not return to a recovering server at once. stamina sleeps through a stop.
        longest = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2.0 ** min(failures, 10))
        seconds = self._jitter(_FIRST_WAIT_SECONDS, longest)
        self._runner = None
        self._restarts += 1
        self._state = RunnerState.WAITING
        _log.warning(
            "runner_restarts",
            runner=self.name,
            error=f"{type(error).__name__}: {error}",
            in_seconds=round(seconds, 1),
            failures=failures,
        )
        self._stop.wait(seconds)
        self._state = RunnerState.STARTING


class Supervisor:
    """Runs named runners until it is told to stop or one of them fails for good.

    `run` blocks in the caller's thread. `stop` may be called from any thread and from a signal handler.
    """

    def __init__(
        self,
        factories: Mapping[str, RunnerFactory],
        *,
        drain_seconds: float,
        clock: Clock | None = None,
        jitter: Jitter = random.uniform,
    ) -> None:
        self._clock = clock if clock is not None else SystemClock()
        self._drain_seconds = drain_seconds
        # SimpleQueue.put is reentrant: an Event set by a signal handler can deadlock with the wait that it interrupts.
        self._inbox: SimpleQueue[tuple[str | None, Exception | None]] = SimpleQueue()
        self._runners = {
            name: _Supervised(name, factory, self._clock, jitter, lambda ended, error: self._inbox.put((ended, error)))
            for name, factory in factories.items()
        }
        self._turned: float | None = None
        self._stopping = False
        self._was_ready = False

    def run(self, on_ready: Callable[[], None] | None = None) -> None:
        """Starts all runners and waits; `on_ready` is called once, when all are ready. Returns after an orderly drain.

        Raises the error of the runner that failed first, once the others are drained, or `DrainTimeout` if they were not.
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
            self._turned = self._clock.monotonic()
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
    known = isinstance(error, EventSourceError)
    _log.error(
        "runner_failed",
        runner=name,
        error=f"{type(error).__name__}: {error}",
        # What the framework raises says what to do; anything else wants its traceback.
        exc_info=None if known else error,
    )
