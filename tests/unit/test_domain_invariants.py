"""Invariants: which methods they are, when they are checked, and what becomes of a command that breaks one."""

from __future__ import annotations

from typing import Any, Self

import pytest

from eventsource.app import App
from eventsource.domain import Aggregate, Command, Event, Rejected, applies, creates, decides, invariant
from eventsource.errors import DefinitionError, HandlerFailed, InvariantBroken
from eventsource.testing import TestApp, given


class Add(Command, name="add"):
    amounts: list[int]


class Added(Event, name="added"):
    amount: int


class TooMuch(Rejected, code="too_much"):
    total: int


class Limited(Aggregate, abstract=True):
    total: int = 0

    @creates
    @classmethod
    def begin(cls, command: Add) -> list[Added]:
        return [Added(amount=amount) for amount in command.amounts]

    @creates
    @classmethod
    def on_begun(cls, event: Added) -> Self:
        return cls(total=event.amount)

    @decides
    def add(self, command: Add) -> list[Added]:
        return [Added(amount=amount) for amount in command.amounts]

    @applies
    def on_added(self, event: Added) -> None:
        self.total += event.amount

    @invariant
    def never_negative(self) -> bool:
        return self.total >= 0


class Jar(Limited, name="jar"):
    @invariant
    def never_over_ten(self) -> None:
        if self.total > 10:
            raise TooMuch(total=self.total)
        if self.total == 7:
            raise ZeroDivisionError("unlucky")


@pytest.fixture
def app() -> TestApp:
    return TestApp(App("shop", aggregates=[Jar]))


def test_they_are_checked_once_all_events_of_a_command_were_applied(app: TestApp) -> None:
    app.send(Jar, "1", Add(amounts=[-5, 20, -6]))
    given(Jar, Added(amount=1)).when(Add(amounts=[-5, 20, -6])).then_state(total=10)


@pytest.mark.parametrize("before", [[], [1]], ids=["new", "there before"])
@pytest.mark.parametrize(
    ("amounts", "error", "text"),
    [
        ([5, -9], HandlerFailed, "InvariantBroken: jar: invariant 'never_negative'"),
        ([11], TooMuch, "total=1"),
    ],
)
def test_what_breaks_one_writes_nothing(
    app: TestApp, before: list[int], amounts: list[int], error: type[Exception], text: str
) -> None:
    if before:
        app.send(Jar, "1", Add(amounts=before))
    with pytest.raises(error, match=text):
        app.send(Jar, "1", Add(amounts=amounts))
    assert [event.amount for event in app.events(Jar) if isinstance(event, Added)] == before
    state = app.state(Jar, "1")
    assert (state.total if state is not None else None) == (1 if before else None)


def test_one_that_raises_anything_else_fails_the_command(app: TestApp) -> None:
    with pytest.raises(HandlerFailed, match="ZeroDivisionError: unlucky"):
        app.send(Jar, "1", Add(amounts=[7]))
    assert app.events(Jar) == []


def test_a_scenario_checks_them_too() -> None:
    given(Jar, Added(amount=1)).when(Add(amounts=[10])).then_rejected(TooMuch, total=11)
    given(Jar).when(Add(amounts=[11])).then_rejected(TooMuch)
    with pytest.raises(InvariantBroken, match="never_negative"):
        given(Jar).when(Add(amounts=[-1]))
    with pytest.raises(AssertionError, match="it was rejected with TooMuch"):
        given(Jar).when(Add(amounts=[11])).then(Added(amount=11))


def test_what_happened_before_is_not_judged() -> None:
    given(Jar, Added(amount=99)).when(Add(amounts=[-95])).then(Added(amount=-95))


def test_those_of_bases_hold_too() -> None:
    assert [method.__name__ for method in Jar.__definition__.invariants] == ["never_negative", "never_over_ten"]


def test_one_that_is_replaced_stays_one() -> None:
    class Loose(Limited, name="loose"):
        @invariant
        def never_negative(self) -> bool:
            return self.total >= -100

    assert len(Loose.__definition__.invariants) == 1
    given(Loose).when(Add(amounts=[-50])).then(Added(amount=-50))
    with pytest.raises(DefinitionError, match="replaces an invariant, and is not marked"):

        class Unmarked(Limited, name="unmarked"):
            def never_negative(self) -> bool:
                return True


def test_only_plain_methods_without_parameters_can_be_one() -> None:
    wrong: Any = 3
    with pytest.raises(DefinitionError, match="marks plain methods"):
        invariant(wrong)
    with pytest.raises(DefinitionError, match="takes self alone"):

        @invariant
        def compared(self: Any, other: Any) -> bool:
            return True
