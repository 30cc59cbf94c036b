"""A worker whose commands are slow or hang: it says so, and is stopped between them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from structlog.testing import capture_logs

from eventsource.app import App
from eventsource.clock import SystemClock
from eventsource.commands.hang_watch import DEAD_AFTER_SECONDS, HANGS_AFTER_SECONDS
from eventsource.domain import Aggregate, Command, Event, creates
from eventsource.log.partitioner import aggregate_key, partition_for
from eventsource.log.topics import apply
from eventsource.settings import ClientSettings, KafkaSettings, Settings, WorkerSettings
from tests.integration.command_threads import WorkerThread

PATIENCE_SECONDS = 30.0


class Open(Command, name="open"):
    pass


class Opened(Event, name="opened"):
    pass


class Account(Aggregate, name="account"):
    @creates
    @classmethod
    def open(cls, command: Open) -> Opened:
        decide.call()
        return Opened()

    @creates
    @classmethod
    def on_opened(cls, event: Opened) -> Self:
        return cls()


APP = App("bank", aggregates=[Account], partitions=1)
BRANCHES = App("branches", aggregates=[Account], partitions=2)


class Decide:
    """What the domain does when it is asked to decide."""

    call: Callable[[], object] = staticmethod(lambda: None)


decide = Decide()


class JumpingClock(SystemClock):
    """Runs like every clock, and jumps when it is told to."""

    ahead_seconds = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_seconds


@pytest.fixture(autouse=True)
def harmless() -> Iterator[None]:
    yield
    decide.call = lambda: None


@pytest.fixture
def settings(eventsource_stack: Any, eventsource_namespace: str, tmp_path: Path) -> Settings:
    made = Settings(
        _env_file=None,
        namespace=eventsource_namespace,
        kafka=KafkaSettings(bootstrap_servers=eventsource_stack.bootstrap_servers),
        client=ClientSettings(timeout_seconds=60),
        worker=WorkerSettings(state_dir=tmp_path / "stores"),
    )
    apply(APP, made)
    return made


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_worker_with_a_command_that_hangs_is_not_ready_and_in_the_end_not_alive(settings: Settings) -> None:
    hanging, released = threading.Event(), threading.Event()

    def hang() -> None:
        hanging.set()
        released.wait(PATIENCE_SECONDS)

    clock = JumpingClock()
    thread = WorkerThread(APP, Account, settings, clock=clock)
    worker = thread.worker
    with capture_logs() as logs, thread, APP.connect(settings) as client:
        client.send(Account, "a-1", Open())
        wait_until(worker.ready)
        decide.call = hang
        pending = client.submit(Account, "a-2", Open(), command_id="hanging")
        assert hanging.wait(PATIENCE_SECONDS)
        (owner,) = worker._owners.values()
        wait_until(lambda: owner.hangs_seconds > 0)
        assert worker.ready()
        clock.ahead_seconds += HANGS_AFTER_SECONDS
        wait_until(lambda: not worker.ready())
        assert worker.alive()
        wait_until(lambda: any(entry["event"] == "command_hangs" for entry in logs))
        clock.ahead_seconds += DEAD_AFTER_SECONDS
        wait_until(lambda: not worker.alive())
        released.set()
        assert pending.result().version == 1
        wait_until(worker.ready)
        assert worker.alive()
    told = [entry for entry in logs if entry["event"] == "command_hangs"]
    assert [(entry["command_id"], entry["aggregate_id"]) for entry in told] == [("hanging", "a-2")]


def test_a_command_that_hangs_holds_up_no_other_partition(settings: Settings) -> None:
    hanging, released = threading.Event(), threading.Event()
    first, other = (
        next(id_ for id_ in map(str, range(100)) if partition_for(aggregate_key(id_), 2) == partition)
        for partition in range(2)
    )

    def hang_once() -> None:
        if not hanging.is_set():
            hanging.set()
            released.wait(PATIENCE_SECONDS)

    apply(BRANCHES, settings)
    with WorkerThread(BRANCHES, Account, settings) as thread, BRANCHES.connect(settings) as client:
        wait_until(thread.worker.ready)
        decide.call = hang_once
        pending = client.submit(Account, first, Open())
        assert hanging.wait(PATIENCE_SECONDS)
        assert client.send(Account, other, Open()).version == 1
        assert not pending.done()
        released.set()
        assert pending.result().version == 1


def test_a_stop_waits_for_the_command_at_hand_and_for_no_other(settings: Settings) -> None:
    decided: list[int] = []
    thread = WorkerThread(APP, Account, settings)

    def stop_at_the_third() -> None:
        decided.append(1)
        if len(decided) == 3:
            for owner in thread.worker._owners.values():
                owner.stop()

    with APP.connect(settings) as client:
        pending = [client.submit(Account, f"a-{number}", Open()) for number in range(100)]
        decide.call = stop_at_the_third
        with thread:
            wait_until(lambda: sum(each.done() for each in pending) >= 1)
            wait_until(lambda: all(not owner._thread.is_alive() for owner in thread.worker._owners.values()))
            assert len(decided) == 3
        decide.call = lambda: None
        with WorkerThread(APP, Account, settings):
            assert {each.result().version for each in pending} == {1}
