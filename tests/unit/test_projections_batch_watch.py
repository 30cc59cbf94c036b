"""A projection in one batch for too long is not ready, and at last not alive; a long catch-up is neither."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Mapped, mapped_column

from eventsource.app import App
from eventsource.consuming.definition import ConsumerContext, MayHang
from eventsource.domain import Aggregate, Event, creates
from eventsource.log.membership import Owned
from eventsource.settings import Settings
from eventsource.testing import VirtualClock
from projections import Projection, ReadModel, projects
from projections.runner import ProjectionRunner


class Opened(Event, name="opened"):
    pass


class Account(Aggregate, name="account"):
    @creates
    @classmethod
    def on_opened(cls, event: Opened) -> Account:
        return cls()


class Balance(ReadModel):
    __tablename__ = "watched_balances"

    id: Mapped[str] = mapped_column(primary_key=True)


class Balances(Projection[Balance], name="balances"):
    @projects
    def on_opened(self, event: Opened, row: Balance) -> None: ...


OWNED = Owned(0, frozenset())


class Member:
    def has_assignment(self) -> bool:
        return True

    def owned(self) -> Owned:
        return OWNED


class Share:
    """Stands for log and database; `work` happens while a batch is written."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.work = work
        self.records: list[Any] = [object()]

    def find_topics(self) -> None: ...

    def take(self, partitions: Any, *, anew: bool) -> None: ...

    def read(self, max_records: int, timeout_seconds: float) -> list[Any]:
        return self.records

    def write(self, records: Any) -> None:
        self.work()

    def pass_markers(self) -> None:
        self.work()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def runner(clock: VirtualClock) -> ProjectionRunner:
    app = App("bank", aggregates=[Account], consumers=[Balances], partitions=1)
    context: Any = ConsumerContext(app, Settings(), None, clock)  # type: ignore[arg-type]  # no schema is asked for
    made: Any = Balances.runner(context)
    made._membership, made._healthy = Member(), True
    return made


def pass_seconds(clock: VirtualClock, seconds: float) -> None:
    clock.advance(timedelta(seconds=seconds))


@pytest.mark.parametrize("idle", [False, True])
def test_one_batch_that_does_not_end(runner: Any, clock: VirtualClock, idle: bool) -> None:
    seen = []

    def work() -> None:
        for seconds in (29, 2, 268, 2):
            pass_seconds(clock, seconds)
            seen.append((runner.ready(), runner.alive()))

    share = Share(lambda: None)
    runner._turn(OWNED, share)
    assert (runner.ready(), runner.alive()) == (True, True)
    share.work = work
    pass_seconds(clock, 1)
    if idle:
        share.records = []
    runner._turn(OWNED, share)
    assert seen == [(True, True), (False, True), (False, True), (False, False)]
    assert (runner.ready(), runner.alive()) == (True, True)


def test_a_batch_that_fails_is_at_hand_no_longer(runner: Any, clock: VirtualClock) -> None:
    def fail() -> None:
        raise RuntimeError("unlucky")

    with pytest.raises(RuntimeError):
        runner._turn(OWNED, Share(fail))
    pass_seconds(clock, 1000)
    assert runner.alive()


def test_a_catch_up_of_many_batches_does_not_count(runner: Any, clock: VirtualClock) -> None:
    def work() -> None:
        pass_seconds(clock, 20)
        assert runner.alive()

    for _ in range(50):
        runner._turn(OWNED, Share(work))
        assert runner.ready()


def test_the_supervisor_asks_whether_it_is_alive(runner: Any) -> None:
    assert isinstance(runner, MayHang)
