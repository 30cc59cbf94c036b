"""One runner of a worker in a thread of its own: started, started again after an error, shown as failed until it works again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import structlog

from eventsource.clock import Clock
from eventsource.consuming.definition import FailsByPartition, GroupMember, MayHang, Runner
from eventsource.errors import Retriable, RunnerStopped
from eventsource.failure import (
    PROVEN_SECONDS,
    Jitter,
    Repetition,
    about,
    describe,
    is_tried_again,
    retry_wait_seconds,
    traceback_of,
)
from eventsource.telemetry import RunnerMetrics

_log = structlog.get_logger("eventsource.worker")

_FIRST_WAIT_SECONDS: Final = 0.2
_LONGEST_WAIT_SECONDS: Final = 15.0
# A runner that worked for so long has recovered: its next failure is a new one.
_RECOVERED_SECONDS: Final = 30.0

RunnerFactory = Callable[[], Runner]


class RunnerState(StrEnum):
    """What a runner is doing.

    starting → working → stopped; working → waiting → starting after an error that may pass. After any other error it is failed
    until it has worked for some seconds again, or for good where the error is not tried again.
    """

    STARTING = "starting"
    WORKING = "working"
    WAITING = "waiting to restart"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class RunnerStatus:
    """A runner as the health page shows it. Ready means that the group gave it its partitions and it works on them."""

    state: RunnerState
    ready: bool
    restarts: int
    failure: str | None = None
    """The class of the error that it failed of, until it has recovered."""
    failed_partitions: tuple[int, ...] = ()
    """Partitions that are not worked on because of an error, while the runner's others are."""
    unassigned_seconds: int = 0
    """How long its consumer group has given it no assignment that holds."""


class SupervisedRunner:
    """Its own thread runs the runner; `look` belongs to the supervisor's thread; `status` and `alive` to any.

    `ended` is called, in the runner's thread, with the name and with the error that ends the worker: with `fail_fast` the first that
    does not pass, else only one that came up while it was being stopped.
    """

    def __init__(
        self,
        name: str,
        factory: RunnerFactory,
        clock: Clock,
        jitter: Jitter,
        ended: Callable[[str, Exception | None], None],
        *,
        fail_fast: bool,
    ) -> None:
        self.name = name
        self._factory = factory
        self._clock = clock
        self._jitter = jitter
        self._ended = ended
        self._fail_fast = fail_fast
        self._metrics = RunnerMetrics(name)
        self._lock = threading.Lock()
        self._runner: Runner | None = None
        self._state = RunnerState.STARTING
        self._failure: str | None = None
        self._ready_since: float | None = None
        self._repetition = Repetition()
        self._restarts = 0
        self.thread = threading.Thread(target=self._work, name=f"runner {name}", daemon=True)
        self._stop = threading.Event()

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        self._stop.set()

    def status(self) -> RunnerStatus:
        runner, state, failure = self._runner, self._state, self._failure
        ready = failure is None and state is RunnerState.WORKING and runner is not None and runner.ready()
        if failure is not None and state is not RunnerState.STOPPED:
            state = RunnerState.FAILED
        partitions = tuple(sorted(runner.failures())) if isinstance(runner, FailsByPartition) else ()
        unassigned = int(runner.unassigned_seconds()) if isinstance(runner, GroupMember) else 0
        return RunnerStatus(state, ready, self._restarts, failure, partitions, unassigned)

    def alive(self) -> bool:
        runner = self._runner
        return not isinstance(runner, MayHang) or runner.alive()

    def look(self, now: float) -> None:
        """To be called a few times a second: notices that a runner that failed works again."""
        if self._failure is None:
            return
        with self._lock:
            runner = self._runner
            if self._failure is None or runner is None or not runner.ready():
                self._ready_since = None
            elif self._ready_since is None:
                self._ready_since = now
            elif now - self._ready_since >= PROVEN_SECONDS:
                self._failure = self._ready_since = None
                self._repetition = Repetition()
                self._metrics.failed(-1)
                _log.info("runner_recovered", runner=self.name)

    def _work(self) -> None:
        error: Exception | None = None
        try:
            self._work_until_stopped()
        except Exception as failure:  # noqa: BLE001  it is handed to the supervisor, which ends the worker with it
            error = failure
        if self._failure is not None:
            self._metrics.failed(-1)
        self._state = RunnerState.STOPPED if error is None else RunnerState.FAILED
        self._ended(self.name, error)

    def _work_until_stopped(self) -> None:
        failures = 0
        while not self._stop.is_set():
            began = self._clock.monotonic()
            error = self._run_once()
            if self._stop.is_set():
                if error is None:
                    return
                if isinstance(error, Retriable):
                    _log.info("runner_interrupted", runner=self.name, error=describe(error))
                    return
                raise error
            if error is None:
                error = RunnerStopped(self.name)
            failures = 1 if self._clock.monotonic() - began > _RECOVERED_SECONDS else failures + 1
            if isinstance(error, Retriable):
                self._wait_for_what_passes(failures, error)
            elif self._fail_fast:
                raise error
            else:
                self._wait_as_failed(failures, error)

    def _run_once(self) -> Exception | None:
        """What a run of the runner ended with; None where it returned."""
        try:
            runner = self._factory()
            self._runner, self._state = runner, RunnerState.WORKING
            runner.run(self._stop)
        except Exception as error:  # noqa: BLE001  its caller raises it, or tries again
            return error
        except BaseException as failure:  # noqa: BLE001  SystemExit and its like would end this thread and nothing else
            stopped = RunnerStopped(self.name, failure)
            stopped.__cause__ = failure
            return stopped
        finally:
            with self._lock:
                self._runner = self._ready_since = None
        return None

    def _wait_for_what_passes(self, failures: int, error: Retriable) -> None:
        # Full jitter, so that many workers do not return to a recovering server at once. stamina sleeps through a stop.
        longest = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2.0 ** min(failures, 10))
        seconds = self._jitter(_FIRST_WAIT_SECONDS, longest)
        self._state = RunnerState.WAITING
        _log.warning(
            "runner_restarts",
            runner=self.name,
            error=describe(error),
            in_seconds=round(seconds, 1),
            failures=failures,
            about=about(error),
        )
        self._wait(seconds)

    def _wait_as_failed(self, failures: int, error: Exception) -> None:
        seconds = retry_wait_seconds(failures, self._jitter) if is_tried_again(error) else None
        with self._lock:
            if self._failure is None:
                self._metrics.failed(1)
            # Its class alone: its traceback would keep everything alive that the failed run had.
            self._failure = type(error).__name__
        self._metrics.failure(error)
        if self._repetition.is_logged(error, self._clock.monotonic()):
            _log.error(
                "runner_failed",
                runner=self.name,
                error=describe(error),
                next=f"it is tried again in {seconds:.0f} s, then at least every minute; everything else goes on"
                if seconds is not None
                else "it is not tried again, since the log is another than it was; everything else goes on: "
                "restart the worker once the log is repaired",
                failures=failures,
                exc_info=traceback_of(error),
            )
        self._wait(seconds)

    def _wait(self, seconds: float | None) -> None:
        self._restarts += 1
        self._stop.wait(seconds)
        self._state = RunnerState.STARTING
