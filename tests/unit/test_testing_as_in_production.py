"""`given` and `TestApp` meet what production meets: values as the log gives them back, and decisions that must not change the state."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Self
from zoneinfo import ZoneInfo

import pytest
from pydantic import AwareDatetime
from sqlalchemy import JSON
from sqlalchemy.orm import Mapped, mapped_column

from eventsource.app import App
from eventsource.domain import Aggregate, Command, Event, applies, creates, decides
from eventsource.errors import HandlerFailed
from eventsource.testing import TestApp, given
from projections import Projection, ReadModel, projects

NOON = datetime(2026, 3, 28, 12, tzinfo=ZoneInfo("Europe/Prague"))  # the day before summer time begins


class Plant(Command, name="plant"):
    size: int = 1
    due: AwareDatetime = NOON


class Grow(Command, name="grow"):
    by: int


class Prune(Command, name="prune"):
    how: str


class Water(Command, name="water"):
    pass


class Planted(Event, name="planted"):
    size: int
    due: AwareDatetime
    branches: list[str]


class Grown(Event, name="grown"):
    size: int


class Watered(Event, name="watered"):
    at: AwareDatetime


class Tree(Aggregate, name="tree"):
    size: int
    due: datetime
    branches: list[str]

    @creates
    @classmethod
    def plant(cls, command: Plant) -> Planted:
        return Planted(size=command.size, due=command.due, branches=["low"])

    @creates
    @classmethod
    def on_planted(cls, event: Planted) -> Self:
        return cls(size=event.size, due=event.due, branches=event.branches)

    @decides
    def grow(self, command: Grow) -> Grown:
        return Grown(size=self.size * command.by)

    @decides
    def prune(self, command: Prune) -> Grown | None:
        if command.how == "branch":
            self.branches.clear()
        elif command.how == "size":
            self.size = 0
        return Grown(size=1) if command.how == "size" else None

    @decides
    def water(self, command: Water) -> Watered:
        return Watered(at=self.due + timedelta(days=1))

    @applies
    def on_grown(self, event: Grown) -> None:
        self.size = event.size

    @applies
    def on_watered(self, event: Watered) -> None:
        self.due = event.at


class OneRow(ReadModel):
    __tablename__ = "likeness_one"
    id: Mapped[str] = mapped_column(primary_key=True)
    branches: Mapped[list[str]] = mapped_column(JSON, default_factory=list)


class OtherRow(ReadModel):
    __tablename__ = "likeness_other"
    id: Mapped[str] = mapped_column(primary_key=True)
    branches: Mapped[list[str]] = mapped_column(JSON, default_factory=list)


class One(Projection[OneRow], name="one"):
    @projects
    def on_planted(self, event: Planted, row: OneRow) -> None:
        event.branches.append("one")
        row.branches = event.branches


class Other(Projection[OtherRow], name="other"):
    @projects
    def on_planted(self, event: Planted, row: OtherRow) -> None:
        event.branches.append("other")
        row.branches = event.branches


PLANTED = Planted(size=2**40, due=NOON, branches=["low"])


def test_a_projection_that_changes_an_event_changes_it_for_no_other() -> None:
    app = TestApp(App("trees", aggregates=[Tree], consumers=[One, Other], partitions=1))
    app.send(Tree, "t", Plant())
    assert [row.branches for row in app.rows(One)] == [["low", "one"]]
    assert [row.branches for row in app.rows(Other)] == [["low", "other"]]
    (event,) = app.events()
    assert isinstance(event, Planted)
    event.branches.append("mine")
    assert app.events() == [Planted(size=1, due=NOON, branches=["low"])]
    state = app.state(Tree, "t")
    assert state is not None
    assert state.branches == ["low"]


def in_test_app(command: Command) -> None:
    app = TestApp(App("trees", aggregates=[Tree], partitions=1))
    app.send(Tree, "t", Plant(size=2**40))
    before = app.state(Tree, "t")
    try:
        app.send(Tree, "t", command)
    finally:
        assert app.state(Tree, "t") == before


def in_given(command: Command) -> None:
    given(Tree, PLANTED).when(command)


@pytest.mark.parametrize(
    "command", [Prune(how="branch"), Prune(how="size"), Grow(by=2**40)], ids=["a list", "a field", "an int of 80 bits"]
)
@pytest.mark.parametrize(
    ("run", "error"), [(in_test_app, HandlerFailed), (in_given, AssertionError)], ids=["TestApp", "given"]
)
def test_what_a_worker_fails_fails_here_too(
    run: Callable[[Command], None], error: type[Exception], command: Command
) -> None:
    with pytest.raises(error, match=r"branches|size"):
        run(command)


def test_an_event_that_cannot_be_written_is_not_given_either() -> None:
    with pytest.raises(AssertionError, match=r"the event Grown cannot be written to the log: grown\.size: the int"):
        given(Tree, PLANTED, Grown(size=2**80))


def test_a_command_that_cannot_be_sent_is_not_decided_on() -> None:
    with pytest.raises(AssertionError, match=r"the command Grow cannot be written to the log: grow\.by"):
        given(Tree, PLANTED).when(Grow(by=2**80))


def test_time_is_counted_as_in_production() -> None:
    # One day after noon in Prague is noon in Prague, or an hour later: the log keeps the offset alone.
    a_day_later = datetime(2026, 3, 29, 11, tzinfo=UTC)
    given(Tree, PLANTED).when(Water()).then(Watered(at=a_day_later))
    app = TestApp(App("trees", aggregates=[Tree], partitions=1))
    app.send(Tree, "t", Plant())
    app.send(Tree, "t", Water())
    (_, watered) = app.events()
    assert watered == Watered(at=a_day_later)
    now, then = app.load(Tree, "t").state, app.load(Tree, "t", at_version=2).state
    assert str(now.due.tzinfo) == str(then.due.tzinfo) == "UTC+01:00"
