from __future__ import annotations

import threading
import time
from asyncio import CancelledError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import pytest
from structlog.testing import capture_logs

from eventsource.errors import (
    BrokerUnavailable,
    ClusterMismatch,
    DrainTimeout,
    OffsetLost,
    RunnerStopped,
    TopicMismatch,
)
from eventsource.failure import Repetition, retry_wait_seconds
from eventsource.supervised import RunnerState
from eventsource.supervisor import Supervisor

PATIENCE_SECONDS = 5.0


class FakeRunner:
    """Ready from the start; works until it is stopped, then does what it was told to."""

    def __init__(
        self, *, fails: BaseException | None = None, ends: bool = False, at_stop: Callable[[], None] | None = None
    ) -> None:
        self._fails = fails
        self._ends = ends
        self._at_stop = at_stop
        self.is_ready = True
        self.begun = threading.Event()
        self.drained = False
        self.asked = 0

    def run(self, stop: threading.Event) -> None:
        self.begun.set()
        if self._fails is not None:
            raise self._fails
        if self._ends:
            return
        stop.wait(PATIENCE_SECONDS * 2)
        if self._at_stop is not None:
            self._at_stop()
        self.drained = True

    def ready(self) -> bool:
        self.asked += 1
        return self.is_ready


def assert_true(condition: bool) -> None:
    assert condition


def no_jitter(shortest: float, longest: float) -> float:
    return 0.0


def supervisor(drain_seconds: float = PATIENCE_SECONDS, **factories: Callable[[], FakeRunner]) -> Supervisor:
    return Supervisor(factories, drain_seconds=drain_seconds, jitter=no_jitter)


def failing_fast(**factories: Callable[[], FakeRunner]) -> Supervisor:
    return Supervisor(factories, drain_seconds=PATIENCE_SECONDS, fail_fast=True, jitter=no_jitter)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class FakeClock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        raise NotImplementedError


class Running:
    """A supervisor in a thread, so that a test can watch it."""

    def __init__(self, supervised: Supervisor) -> None:
        self.error: BaseException | None = None
        self.ready = threading.Event()
        self.supervised = supervised
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.supervised.run(on_ready=self.ready.set)
        except Exception as error:  # noqa: BLE001  the test asks for it
            self.error = error

    def end(self) -> BaseException | None:
        self.supervised.stop()
        self.thread.join(PATIENCE_SECONDS)
        assert not self.thread.is_alive()
        return self.error


@contextmanager
def running(supervised: Supervisor) -> Iterator[Running]:
    begun = Running(supervised)
    yield begun
    begun.end()


def test_it_is_ready_when_all_runners_are_and_says_so_once() -> None:
    late, early = FakeRunner(), FakeRunner()
    late.is_ready = False
    with running(supervisor(late=lambda: late, early=lambda: early)) as begun:
        assert late.begun.wait(PATIENCE_SECONDS)
        assert early.begun.wait(PATIENCE_SECONDS)
        assert not begun.supervised.ready()
        assert not begun.ready.is_set()
        late.is_ready = True
        assert begun.ready.wait(PATIENCE_SECONDS)
        assert begun.supervised.ready()
        assert begun.supervised.alive()


def test_it_is_not_alive_while_a_runner_hangs_for_good() -> None:
    class Hanging(FakeRunner):
        is_alive = True

        def alive(self) -> bool:
            return self.is_alive

    hanging, other = Hanging(), FakeRunner()
    with running(supervisor(hanging=lambda: hanging, other=lambda: other)) as begun:
        assert begun.ready.wait(PATIENCE_SECONDS)
        assert begun.supervised.alive()
        hanging.is_alive = False
        assert not begun.supervised.alive()


def test_a_stop_drains_every_runner_and_returns() -> None:
    runners = [FakeRunner(), FakeRunner()]
    begun = Running(supervisor(one=lambda: runners[0], two=lambda: runners[1]))
    assert begun.ready.wait(PATIENCE_SECONDS)
    assert begun.end() is None
    assert [runner.drained for runner in runners] == [True, True]
    assert {status.state for status in begun.supervised.statuses().values()} == {RunnerState.STOPPED}
    assert not begun.supervised.ready()


def test_a_stop_before_the_start_is_not_lost() -> None:
    runner = FakeRunner()
    supervised = supervisor(one=lambda: runner)
    supervised.stop()
    supervised.run()
    assert runner.drained or not runner.begun.is_set()


def test_an_error_that_may_pass_restarts_the_runner_and_it_recovers() -> None:
    well = FakeRunner()
    attempts = iter([FakeRunner(fails=BrokerUnavailable("away")), FakeRunner(fails=BrokerUnavailable("away")), well])
    with running(supervisor(one=lambda: next(attempts))) as begun:
        assert begun.ready.wait(PATIENCE_SECONDS)
        assert begun.supervised.statuses()["one"].restarts == 2
    assert begun.error is None
    assert well.drained


def test_waits_between_restarts_grow_up_to_a_bound() -> None:
    asked: list[float] = []
    enough = threading.Event()

    def jitter(_shortest: float, longest: float) -> float:
        asked.append(longest)
        if len(asked) >= 12:
            enough.set()
        return 0.0

    supervised = Supervisor(
        {"one": lambda: FakeRunner(fails=BrokerUnavailable("away"))}, drain_seconds=PATIENCE_SECONDS, jitter=jitter
    )
    with running(supervised):
        assert enough.wait(PATIENCE_SECONDS)
    assert asked[:4] == [0.4, 0.8, 1.6, 3.2]
    assert max(asked) == 15.0


def test_a_stop_ends_the_wait_before_a_restart() -> None:
    waiting = threading.Event()

    def jitter(_shortest: float, _longest: float) -> float:
        waiting.set()
        return 3600.0

    supervised = Supervisor(
        {"one": lambda: FakeRunner(fails=BrokerUnavailable("away"))}, drain_seconds=PATIENCE_SECONDS, jitter=jitter
    )
    begun = Running(supervised)
    assert waiting.wait(PATIENCE_SECONDS)
    assert begun.end() is None


def test_failing_fast_an_error_that_does_not_pass_drains_the_others_and_is_raised() -> None:
    other = FakeRunner()
    lost = OffsetLost("offset 3 is gone")

    def failing() -> FakeRunner:
        assert other.begun.wait(PATIENCE_SECONDS)
        return FakeRunner(fails=lost)

    supervised = failing_fast(failing=failing, other=lambda: other)
    with pytest.raises(OffsetLost) as caught:
        supervised.run()
    assert caught.value is lost
    assert other.drained
    assert supervised.statuses()["failing"].state is RunnerState.FAILED
    assert not supervised.ready()


def test_failing_fast_a_defect_in_a_handler_is_no_reason_to_restart() -> None:
    attempts = []

    def failing() -> FakeRunner:
        attempts.append(1)
        return FakeRunner(fails=ZeroDivisionError("oops"))

    with pytest.raises(ZeroDivisionError):
        failing_fast(one=failing).run()
    assert len(attempts) == 1


def test_a_factory_that_fails_is_as_a_runner_that_fails() -> None:
    def failing() -> FakeRunner:
        raise OffsetLost("gone")

    with pytest.raises(OffsetLost):
        failing_fast(one=failing).run()


def test_a_runner_that_ends_untold_is_an_error() -> None:
    with pytest.raises(RunnerStopped, match="runner one ended"):
        failing_fast(one=lambda: FakeRunner(ends=True)).run()


def test_a_runner_that_does_not_drain_in_time_is_named() -> None:
    release = threading.Event()
    slow = FakeRunner(at_stop=lambda: assert_true(release.wait(PATIENCE_SECONDS)))
    quick = FakeRunner()
    begun = Running(supervisor(0.05, slow=lambda: slow, quick=lambda: quick))
    try:
        assert begun.ready.wait(PATIENCE_SECONDS)
        error = begun.end()
    finally:
        release.set()
    assert isinstance(error, DrainTimeout)
    assert error.runners == ("slow",)
    assert quick.drained


def test_a_runner_that_fails_while_draining_fails_the_drain() -> None:
    def fail() -> None:
        raise OffsetLost("gone")

    begun = Running(supervisor(one=lambda: FakeRunner(at_stop=fail)))
    assert begun.ready.wait(PATIENCE_SECONDS)
    assert isinstance(begun.end(), OffsetLost)


def test_a_server_that_goes_away_while_draining_does_not_fail_the_drain() -> None:
    def fail() -> None:
        raise BrokerUnavailable("away")

    begun = Running(supervisor(one=lambda: FakeRunner(at_stop=fail)))
    assert begun.ready.wait(PATIENCE_SECONDS)
    assert begun.end() is None


def test_a_loop_that_does_not_turn_is_not_alive() -> None:
    clock, runner = FakeClock(), FakeRunner()
    supervised = Supervisor({"one": lambda: runner}, drain_seconds=1.0, clock=clock)
    assert supervised.alive()
    clock.seconds = 60.0
    assert supervised.alive(), "it has not begun: whoever starts it may still be waiting for a server"
    seen = []

    def hang() -> None:
        seen.append(supervised.alive())
        clock.seconds += 60.0
        seen.append(supervised.alive())
        supervised.stop()

    supervised.run(on_ready=hang)
    assert seen == [True, False]


@pytest.mark.parametrize("ended_by", [SystemExit(3), KeyboardInterrupt(), CancelledError()], ids=repr)
def test_failing_fast_a_runner_that_exits_fails_the_worker_instead_of_only_its_thread(ended_by: BaseException) -> None:
    other = FakeRunner()

    def exiting() -> FakeRunner:
        assert other.begun.wait(PATIENCE_SECONDS)
        return FakeRunner(fails=ended_by)

    begun = Running(failing_fast(exiting=exiting, other=lambda: other))
    begun.thread.join(PATIENCE_SECONDS)
    state = begun.supervised.statuses()["exiting"].state
    begun.end()
    assert isinstance(begun.error, RunnerStopped)
    assert begun.error.__cause__ is ended_by
    assert "runner exiting was ended by" in str(begun.error)
    assert state is RunnerState.FAILED
    assert other.drained


def test_a_runner_that_fails_is_shown_and_tried_again_while_the_others_go_on() -> None:
    clock, other, well = FakeClock(), FakeRunner(), FakeRunner()
    broken = threading.Event()
    broken.set()

    def factory() -> FakeRunner:
        return FakeRunner(fails=ZeroDivisionError("oops")) if broken.is_set() else well

    supervised = Supervisor(
        {"one": factory, "other": lambda: other},
        drain_seconds=PATIENCE_SECONDS,
        clock=clock,
        jitter=lambda _shortest, _longest: 0.01,
    )
    with capture_logs() as logs, running(supervised) as begun:
        until(lambda: supervised.statuses()["one"].restarts > 2)
        status = supervised.statuses()["one"]
        assert (status.state, status.ready, status.failure) == (RunnerState.FAILED, False, "ZeroDivisionError")
        until(lambda: supervised.statuses()["other"].ready)
        assert supervised.alive()
        assert not supervised.ready()
        assert not begun.ready.is_set()
        broken.clear()
        assert well.begun.wait(PATIENCE_SECONDS)
        until(lambda: supervised.alive() and well.asked > 5)
        assert supervised.statuses()["one"].state is RunnerState.FAILED, "it has not shown yet that it works"
        clock.seconds += 5.0
        assert begun.ready.wait(PATIENCE_SECONDS)
        assert supervised.statuses()["one"].failure is None
    assert begun.error is None
    assert well.drained
    assert other.drained
    assert [line["event"] for line in logs].count("runner_failed") == 1, "the same failure is one line a minute"
    assert "tried again" in next(line for line in logs if line["event"] == "runner_failed")["next"]


def test_a_failure_is_logged_again_after_a_minute_and_at_once_when_it_is_another() -> None:
    repetition = Repetition()
    assert repetition.is_logged(ValueError("a"), 0.0)
    assert not repetition.is_logged(ValueError("a"), 59.0)
    assert repetition.is_logged(ValueError("b"), 59.5)
    assert not repetition.is_logged(ValueError("b"), 100.0)
    assert repetition.is_logged(ValueError("b"), 120.0)


@pytest.mark.parametrize(
    "damage", [OffsetLost("cut"), TopicMismatch("created again"), ClusterMismatch("another")], ids=repr
)
def test_a_runner_whose_log_is_damaged_is_not_tried_again(damage: Exception) -> None:
    attempts, other = [], FakeRunner()

    def failing() -> FakeRunner:
        attempts.append(1)
        return FakeRunner(fails=damage)

    with capture_logs() as logs, running(supervisor(one=failing, other=lambda: other)) as begun:
        until(lambda: begun.supervised.statuses()["one"].state is RunnerState.FAILED)
        until(lambda: begun.supervised.statuses()["other"].ready)
        time.sleep(0.1)  # with waits of no length, it would have been tried again by now
        assert begun.supervised.statuses()["one"].failure == type(damage).__name__
    assert begun.error is None, "that it failed was reported; the stop was orderly"
    assert len(attempts) == 1
    assert "not tried again" in next(line for line in logs if line["event"] == "runner_failed")["next"]


def test_waits_before_a_failed_runner_is_tried_again_grow_up_to_a_minute() -> None:
    assert [retry_wait_seconds(failures, lambda _shortest, longest: longest) for failures in (1, 2, 3, 6, 50)] == [
        2.0,
        4.0,
        8.0,
        60.0,
        60.0,
    ]
    assert retry_wait_seconds(5, lambda shortest, _longest: shortest) == 1.0


def test_partitions_that_failed_are_named_while_the_runner_works() -> None:
    class OneStopped(FakeRunner):
        def failures(self) -> dict[int, str]:
            return {3: "HeaderError"}

    runner = OneStopped()
    runner.is_ready = False
    with running(supervisor(one=lambda: runner)) as begun:
        assert runner.begun.wait(PATIENCE_SECONDS)
        status = begun.supervised.statuses()["one"]
    assert (status.state, status.ready, status.failed_partitions) == (RunnerState.WORKING, False, (3,))
