from __future__ import annotations

import threading
from asyncio import CancelledError
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from eventsource.errors import BrokerUnavailable, DrainTimeout, OffsetLost, RunnerStopped
from eventsource.supervisor import RunnerState, Supervisor

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
        return self.is_ready


def assert_true(condition: bool) -> None:
    assert condition


def no_jitter(shortest: float, longest: float) -> float:
    return 0.0


def supervisor(drain_seconds: float = PATIENCE_SECONDS, **factories: Callable[[], FakeRunner]) -> Supervisor:
    return Supervisor(factories, drain_seconds=drain_seconds, jitter=no_jitter)


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


def test_an_error_that_does_not_pass_drains_the_others_and_is_raised() -> None:
    other = FakeRunner()
    lost = OffsetLost("offset 3 is gone")

    def failing() -> FakeRunner:
        assert other.begun.wait(PATIENCE_SECONDS)
        return FakeRunner(fails=lost)

    supervised = supervisor(failing=failing, other=lambda: other)
    with pytest.raises(OffsetLost) as caught:
        supervised.run()
    assert caught.value is lost
    assert other.drained
    assert supervised.statuses()["failing"].state is RunnerState.FAILED
    assert not supervised.ready()


def test_a_defect_in_a_handler_is_no_reason_to_restart() -> None:
    attempts = []

    def failing() -> FakeRunner:
        attempts.append(1)
        return FakeRunner(fails=ZeroDivisionError("oops"))

    with pytest.raises(ZeroDivisionError):
        supervisor(one=failing).run()
    assert len(attempts) == 1


def test_a_factory_that_fails_is_as_a_runner_that_fails() -> None:
    def failing() -> FakeRunner:
        raise OffsetLost("gone")

    with pytest.raises(OffsetLost):
        supervisor(one=failing).run()


def test_a_runner_that_ends_untold_is_an_error() -> None:
    with pytest.raises(RunnerStopped, match="runner one ended"):
        supervisor(one=lambda: FakeRunner(ends=True)).run()


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
    class Clock:
        seconds = 0.0

        def monotonic(self) -> float:
            return self.seconds

        def now(self) -> object:
            raise NotImplementedError

    clock, runner = Clock(), FakeRunner()
    supervised = Supervisor({"one": lambda: runner}, drain_seconds=1.0, clock=clock)  # type: ignore[arg-type]
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
def test_a_runner_that_exits_fails_the_worker_instead_of_only_its_thread(ended_by: BaseException) -> None:
    other = FakeRunner()

    def exiting() -> FakeRunner:
        assert other.begun.wait(PATIENCE_SECONDS)
        return FakeRunner(fails=ended_by)

    begun = Running(supervisor(exiting=exiting, other=lambda: other))
    begun.thread.join(PATIENCE_SECONDS)
    state = begun.supervised.statuses()["exiting"].state
    begun.end()
    assert isinstance(begun.error, RunnerStopped)
    assert begun.error.__cause__ is ended_by
    assert "runner exiting was ended by" in str(begun.error)
    assert state is RunnerState.FAILED
    assert other.drained
