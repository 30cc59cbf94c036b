"""Static group membership: a worker that comes back under its own name disturbs nobody."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from eventsource.app import App
from eventsource.domain import Aggregate, Command, Event, applies, creates, decides
from eventsource.log.partitioner import partition_for
from eventsource.log.steps import Step
from eventsource.log.topics import apply
from eventsource.settings import ClientSettings, KafkaSettings, Settings, WorkerSettings
from tests.integration.command_threads import WorkerThread


class Tick(Command, name="tick"):
    pass


class Ticked(Event, name="ticked"):
    pass


class Clock(Aggregate, name="clock"):
    ticks: int = 0

    @creates
    @classmethod
    def begin(cls, command: Tick) -> Ticked:
        return Ticked()

    @creates
    @classmethod
    def on_begun(cls, event: Ticked) -> Self:
        return cls(ticks=1)

    @decides
    def tick(self, command: Tick) -> Ticked:
        return Ticked()

    @applies
    def on_ticked(self, event: Ticked) -> None:
        self.ticks += 1


APP = App("clocks", aggregates=[Clock], partitions=2)
IDS = {partition_for(key.encode(), 2): key for key in ("c-1", "c-2", "c-3", "c-4", "c-5")}


class Member(WorkerThread):
    """A worker under a name of its own, which notes the steps of its owners."""

    def __init__(self, settings: Settings, name: str) -> None:
        client = {"group.instance.id": name}
        kafka = settings.kafka.model_copy(update={"client": {**settings.kafka.client, **client}})
        self.steps: list[tuple[Step, int]] = []
        self.settings = settings
        super().__init__(
            APP,
            Clock,
            settings.model_copy(update={"kafka": kafka}),
            lambda step, partition: self.steps.append((step, partition)),
        )

    def fenced(self) -> list[int]:
        return [partition for step, partition in self.steps if step is Step.FENCED]


# The classic protocol alone: a static member of the newer one stays in its group for 45 s after a test, by the broker's minimum.
@pytest.fixture
def start(eventsource_stack: Any, eventsource_namespace: str, tmp_path: Path) -> Iterator[Callable[[str], Member]]:
    settings = Settings(
        _env_file=None,
        namespace=eventsource_namespace,
        kafka=KafkaSettings(bootstrap_servers=eventsource_stack.bootstrap_servers, session_timeout_seconds=10),
        client=ClientSettings(timeout_seconds=30),
        worker=WorkerSettings(state_dir=tmp_path),
    )
    apply(APP, settings)
    members: list[Member] = []

    def make(name: str) -> Member:
        members.append(Member(settings, name))
        return members[-1].start()

    yield make
    for member in members:
        member.stop()
        assert member.failure is None


def until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def test_a_member_that_comes_back_takes_its_own_partitions_and_disturbs_nobody(start: Callable[[str], Member]) -> None:
    first, second = start("a"), start("b")
    # Of one mind and at one moment: a member that has no partition yet is ready too, and one that has just got it is not.
    until(
        lambda: (
            len(first.worker._owners) == len(second.worker._owners) == 1
            and first.worker.ready()
            and second.worker.ready()
        ),
        "each of both members handles one partition",
    )
    (owned,) = (partition for _, partition in first.worker._owners)
    (other,) = (partition for _, partition in second.worker._owners)
    before = len(second.fenced())
    first.stop()
    again = start("a")
    until(again.worker.ready, "the member is back")
    assert [partition for _, partition in again.worker._owners] == [owned]
    with APP.connect(again.settings) as client:
        assert client.send(Clock, IDS[owned], Tick()).version == 1
        assert client.send(Clock, IDS[other], Tick()).version == 1
    assert len(second.fenced()) == before
    assert again.fenced() == [owned]
