from __future__ import annotations

import sys
from asyncio import CancelledError
from functools import partial
from typing import ClassVar, Self

import pytest

from eventsource.commands.states import AggregateStates, Current, Written
from eventsource.domain import Aggregate, Command, Event, applies, creates, decides
from eventsource.errors import ForkDetected, TransactionAborted


class Add(Command, name="add"):
    item: str


class Added(Event, name="added"):
    item: str


class Basket(Aggregate, name="basket"):
    items: list[str]

    @creates
    @classmethod
    def begin(cls, command: Add) -> Added:
        return Added(item=command.item)

    @creates
    @classmethod
    def on_begun(cls, event: Added) -> Self:
        return cls(items=[event.item])

    @decides
    def add(self, command: Add) -> Added:
        return Added(item=command.item)

    @applies
    def on_added(self, event: Added) -> None:
        self.items.append(event.item)
        if event.item == "poison":
            raise RuntimeError("cannot hold that")


@pytest.fixture
def states() -> AggregateStates:
    return AggregateStates(Basket.__definition__)


def apply(states: AggregateStates, aggregate_id: str, events: tuple[Event, ...], first_index: int) -> None:
    """As a command does; what it writes is read again as these events are made: from text."""
    written: Written = [(partial(_read, type(event)), event.model_dump_json().encode()) for event in events]
    states.apply(aggregate_id, events, first_index, written)


def _read(cls: type[Event], value: bytes) -> Event:
    return cls.model_validate_json(value)


def items(states: AggregateStates, aggregate_id: str = "b") -> list[str] | None:
    current = states.find(aggregate_id)
    return None if current is None else current.state.items  # type: ignore[attr-defined]


def test_a_batch_sees_its_own_changes(states: AggregateStates) -> None:
    apply(states, "b", (Added(item="x"),), 0)
    apply(states, "b", (Added(item="y"),), 1)
    current = states.find("b")
    assert items(states) == ["x", "y"]
    assert current is not None
    assert (current.version, current.offset, current.index) == (2, -1, 1)


def test_a_commit_keeps_a_batch_and_gives_it_offsets(states: AggregateStates) -> None:
    apply(states, "b", (Added(item="x"), Added(item="y")), 3)
    states.commit([0, 0, 0, 70, 71])
    current = states.find("b")
    assert current is not None
    assert (current.version, current.offset, current.index) == (2, 71, -1)


def test_a_rollback_leaves_the_committed_state_untouched_even_inside_lists(states: AggregateStates) -> None:
    apply(states, "b", (Added(item="x"),), 0)
    states.commit([10])
    apply(states, "b", (Added(item="y"),), 0)
    apply(states, "new", (Added(item="z"),), 1)
    states.rollback()
    assert items(states) == ["x"]
    assert states.find("new") is None


def test_an_event_that_cannot_be_applied_leaves_the_aggregate_as_it_was_before_its_command(
    states: AggregateStates,
) -> None:
    apply(states, "b", (Added(item="x"),), 0)
    states.commit([10])
    apply(states, "b", (Added(item="y"),), 0)
    with pytest.raises(RuntimeError):
        apply(states, "b", (Added(item="z"), Added(item="poison")), 1)
    assert items(states) == ["x", "y"]
    apply(states, "b", (Added(item="after"),), 1)
    states.commit([11, 12])
    assert items(states) == ["x", "y", "after"]


class Counted:
    """Can be copied so many times."""

    copies_left: ClassVar[int] = 0

    def __deepcopy__(self, _memo: object) -> Counted:
        if Counted.copies_left == 0:
            raise MemoryError
        Counted.copies_left -= 1
        return Counted()


def test_a_state_that_cannot_be_copied_again_ends_its_batch(states: AggregateStates) -> None:
    apply(states, "b", (Added(item="x"),), 0)
    current = states.find("b")
    assert current is not None
    current.state.held = Counted()  # type: ignore[attr-defined]
    states.commit([10])
    Counted.copies_left = 1
    apply(states, "b", (Added(item="y"),), 0)
    with pytest.raises(TransactionAborted, match="cannot be applied again"):
        apply(states, "b", (Added(item="poison"),), 1)
    states.rollback()
    assert items(states) == ["x"]


def test_a_state_that_was_built_again_is_forgotten_with_its_batch(states: AggregateStates) -> None:
    apply(states, "b", (Added(item="x"),), 0)
    states.commit([10])
    apply(states, "b", (Added(item="y"),), 0)
    with pytest.raises(RuntimeError):
        apply(states, "b", (Added(item="poison"),), 1)
    apply(states, "b", (Added(item="z"),), 1)
    states.rollback()
    assert items(states) == ["x"]


def test_what_a_batch_was_built_from_is_let_go_with_the_commit(states: AggregateStates) -> None:
    apply(states, "b", (Added(item="x"),), 0)
    assert states.hottest() == ("b", 1)
    states.commit([10])
    current = states.find("b")
    assert current is not None
    assert (current.commands, current.written) == (0, None)


def test_a_replay_that_cannot_apply_an_event_stops_that_aggregate_alone(states: AggregateStates) -> None:
    states.replay("b", Added(item="x"), 1, 0)
    states.replay("b", Added(item="poison"), 2, 1)
    states.replay("other", Added(item="x"), 1, 2)
    with pytest.raises(ForkDetected, match=r"basket 'b' is stopped.*version 2.*mend the handler"):
        states.check("b")
    states.check("other")
    assert list(states.stopped) == ["b"]


def test_the_first_reason_to_stop_stands(states: AggregateStates) -> None:
    states.stop("b", "first")
    states.stop("b", "second")
    assert states.stopped == {"b": "first"}


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even that")


class Drawn(Event, name="drawn"):
    item: str


class Jar(Aggregate, name="jar"):
    """Its handlers end otherwise than by an error, or do not apply twice what they applied once."""

    items: list[str]
    applied: ClassVar[int] = 0

    @creates
    @classmethod
    def on_drawn(cls, event: Drawn) -> Self:
        return cls(items=[event.item])

    @applies
    def on_added(self, event: Added) -> None:
        Jar.applied += 1
        if event.item == "exit":
            sys.exit(3)
        if event.item == "cancel":
            raise CancelledError
        if event.item == "unprintable":
            raise Unprintable
        if event.item == "once" and Jar.applied > 1:
            raise RuntimeError("not twice")


@pytest.fixture
def jars() -> AggregateStates:
    Jar.applied = 0
    return AggregateStates(Jar.__definition__)


@pytest.mark.parametrize(
    ("item", "kind"),
    [("exit", "SystemExit"), ("cancel", "CancelledError"), ("unprintable", "Unprintable: the error has no")],
)
def test_a_handler_that_exits_while_it_is_replayed_stops_its_aggregate_and_not_the_worker(
    jars: AggregateStates, item: str, kind: str
) -> None:
    jars.replay("j", Drawn(item="x"), 1, 0)
    jars.replay("j", Added(item=item), 2, 1)
    with pytest.raises(ForkDetected, match=f"cannot be applied: {kind}"):
        jars.check("j")


def test_a_state_that_cannot_be_built_again_ends_the_batch(jars: AggregateStates) -> None:
    apply(jars, "j", (Drawn(item="x"),), 0)
    apply(jars, "j", (Added(item="once"),), 1)
    with pytest.raises(TransactionAborted, match=r"jar 'j': events that could be applied cannot be applied again"):
        apply(jars, "j", (Added(item="exit"),), 2)


def refuse(states: AggregateStates, aggregate_id: str = "b") -> None:
    """A command that is decided on and leaves no event."""
    current = states.find(aggregate_id)
    assert current is not None
    states.end_decision(states.begin_decision(aggregate_id, current))


@pytest.mark.parametrize("end", ["rollback", "commit"])
def test_what_another_owner_wrote_after_a_refusal_is_what_an_append_follows(states: AggregateStates, end: str) -> None:
    apply(states, "b", (Added(item="x"),), 0)
    states.commit([70])
    refuse(states)
    if end == "commit":
        states.commit([])
    else:
        states.rollback()
    states.replay("b", Added(item="of another owner"), 2, 71)
    apply(states, "b", (Added(item="appended"),), 0)  # an append: nothing is decided before it
    states.commit([72])
    current = states.find("b")
    assert current is not None
    assert (current.version, items(states)) == (3, ["x", "of another owner", "appended"])


@pytest.mark.parametrize("end", ["rollback", "commit", "replay"])
def test_a_refused_decision_leaves_no_copy_behind_its_batch(states: AggregateStates, end: str) -> None:
    apply(states, "b", (Added(item="x"),), 0)
    states.commit([70])
    refuse(states)
    match end:
        case "rollback":
            states.rollback()
        case "commit":
            states.commit([])
        case _:
            states.replay("c", Added(item="y"), 1, 71)
    assert states._twin is None  # what is kept would be the state of an aggregate that memory may have dropped


def test_a_copy_of_what_memory_no_longer_holds_is_not_used(states: AggregateStates) -> None:
    apply(states, "b", (Added(item="x"),), 0)
    states.commit([70])
    refuse(states)
    states.aggregates.unsaved["b"] = Current(Basket(items=["x", "y"]), 2, 71)
    apply(states, "b", (Added(item="z"),), 0)
    current = states.find("b")
    assert current is not None
    assert (current.version, items(states)) == (3, ["x", "y", "z"])
