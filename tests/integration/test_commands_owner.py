"""A partition owner on a real broker: what it keeps on disk between two lives, and what it does when it loses its partition."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest
from rocksdict import Options, Rdict
from structlog.testing import capture_logs

from eventsource.app import App
from eventsource.commands.owner_state import OwnerState
from eventsource.domain import Aggregate, Command, Event, applies, creates, decides
from eventsource.log.steps import Step, StepListener, ignore_step
from eventsource.log.topics import apply
from eventsource.settings import ClientSettings, KafkaSettings, Settings, WorkerSettings
from tests.integration.command_threads import WorkerThread


class Add(Command, name="add"):
    amount: int


class AddTwice(Command, name="add-twice"):
    amount: int


class Added(Event, name="added"):
    amount: int


class Counter(Aggregate, name="counter"):
    total: int = 0

    @creates
    @classmethod
    def begin(cls, command: Add) -> Added:
        return Added(amount=command.amount)

    @creates
    @classmethod
    def on_begun(cls, event: Added) -> Self:
        return cls(total=event.amount)

    @decides
    def add(self, command: Add) -> Added:
        return Added(amount=command.amount)

    @decides
    def add_twice(self, command: AddTwice) -> tuple[Added, Added]:
        return Added(amount=command.amount), Added(amount=command.amount)

    @applies
    def on_added(self, event: Added) -> None:
        self.total += event.amount


APP = App("sums", aggregates=[Counter], partitions=1)


@pytest.fixture
def settings(eventsource_stack: Any, eventsource_namespace: str, tmp_path: Path) -> Settings:
    made = Settings(
        _env_file=None,
        namespace=eventsource_namespace,
        kafka=KafkaSettings(bootstrap_servers=eventsource_stack.bootstrap_servers),
        client=ClientSettings(timeout_seconds=30),
        worker=WorkerSettings(state_dir=tmp_path / "stores"),
    )
    apply(APP, made)
    return made


class Life(WorkerThread):
    """One worker from its start to its end."""

    def __init__(self, settings: Settings, on_step: StepListener = ignore_step) -> None:
        super().__init__(APP, Counter, settings, on_step)


def add(settings: Settings, *amounts: int) -> list[int]:
    with APP.connect(settings) as client:
        return [client.send(Counter, "c-1", Add(amount=amount)).version for amount in amounts]


@pytest.fixture
def taken_over(settings: Settings) -> Callable[[], int]:
    """Lives through another owner that handles one command, and tells how many events it read from the log before."""

    def live() -> int:
        with capture_logs() as logs, Life(settings):
            add(settings, 1)
        (taken,) = [entry for entry in logs if entry["event"] == "partition_taken_over"]
        return int(taken["events"])

    return live


def test_an_owner_with_a_store_reads_only_what_came_behind_it(
    settings: Settings, taken_over: Callable[[], int]
) -> None:
    with Life(settings):
        assert add(settings, *range(1, 11)) == list(range(1, 11))
    assert taken_over() == 0
    shutil.rmtree(settings.worker.state_dir or Path())
    assert taken_over() == 11
    assert taken_over() == 0


def test_a_store_is_known_again_by_the_last_of_several_events_of_a_command(
    settings: Settings, taken_over: Callable[[], int]
) -> None:
    with Life(settings):
        add(settings, 1)
        with APP.connect(settings) as client:
            assert client.send(Counter, "c-1", AddTwice(amount=1)).version == 3
    assert taken_over() == 0


def test_a_store_that_is_older_than_the_log_is_brought_up(
    settings: Settings, taken_over: Callable[[], int], tmp_path: Path
) -> None:
    stores = settings.worker.state_dir or Path()
    with Life(settings):
        add(settings, 1, 2, 3)
    shutil.copytree(stores, tmp_path / "old")
    with Life(settings):
        add(settings, 4, 5)
    shutil.rmtree(stores)
    shutil.copytree(tmp_path / "old", stores)
    assert taken_over() == 2
    with Life(settings):
        assert add(settings, 6) == [7]


def test_a_store_whose_newest_event_the_log_does_not_have_is_built_anew(
    settings: Settings, taken_over: Callable[[], int]
) -> None:
    with Life(settings):
        add(settings, 1, 2, 3)
    (folder,) = (settings.worker.state_dir or Path()).glob("*/*/*/db")
    store = Rdict(str(folder), Options(raw_mode=True))
    store[b"p"] = store[b"p"].replace(b"/1.1", b"/9.9")
    store.close()
    with capture_logs() as logs, Life(settings):
        assert add(settings, 4) == [4]
    discarded = [entry["reason"] for entry in logs if entry["event"] == "state_store_discarded"]
    assert len(discarded) == 1
    assert "the log is another, or was cut" in discarded[0]


def test_a_disk_that_fails_costs_a_replay_and_no_command(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with Life(settings):
        add(settings, 1, 2, 3)
    failures: list[int] = []

    class FailingOnce:
        def __init__(self, *arguments: Any) -> None:
            self._rocks = Rdict(*arguments)

        def get(self, key: Any) -> Any:
            if isinstance(key, list) and not failures:
                failures.append(1)
                raise OSError("the disk is gone")
            return self._rocks.get(key)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._rocks, name)

    monkeypatch.setattr("eventsource.commands.state_store.Rdict", FailingOnce)
    with capture_logs() as logs, Life(settings):
        assert add(settings, 4) == [4]
    assert failures
    assert [entry["events"] for entry in logs if entry["event"] == "partition_taken_over"] == [0, 3]


def test_what_was_handled_when_the_partition_was_lost_is_not_committed(settings: Settings) -> None:
    lost = threading.Event()
    life: list[Life] = []

    def lose(step: Step, _partition: int) -> None:
        if step is Step.BEGUN and not lost.is_set():
            lost.set()
            (owner,) = life[0].worker._owners.values()
            owner.lose()
            owners.append(owner)

    owners: list[Any] = []
    life.append(Life(settings, lose))
    with life[0], APP.connect(settings) as client:
        pending = client.submit(Counter, "c-1", Add(amount=1))
        assert lost.wait(30)
        assert owners[0].join(30)
        assert owners[0].state is OwnerState.CLOSED
        assert not pending.done()
    with Life(settings), APP.connect(settings) as client:
        assert client.load(Counter, "c-1").state.total == 1
