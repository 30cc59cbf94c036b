"""Given some events, when a command comes, then these events: tests of a domain, without a broker or a clock.

given(Account, AccountOpened(owner="Ada")).when(Withdraw(amount=Decimal(9))).then_rejected(InsufficientFunds)
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from eventsource.domain import Aggregate, Command, Context, Event, Rejected
from eventsource.domain.annotations import name_of
from eventsource.domain.definition import AggregateDefinition
from eventsource.errors import AlreadyExists, NotFound
from eventsource.testing.differences import NOTHING, changes, diff, same, shown
from eventsource.testing.round_trips import written_and_read

A = TypeVar("A", bound=Aggregate[Any])
_R = TypeVar("_R", bound=Exception)
_Refusal = Rejected | NotFound | AlreadyExists

START = datetime(2000, 1, 1, tzinfo=UTC)
"""The time of every command that is not given another."""


def given(aggregate: type[A], *events: Event) -> Given[A]:
    """An aggregate as `events` left it; one that does not exist when there are none."""
    definition = aggregate.__definition__
    return Given(_Story(definition, id=f"{definition.name}-1").after(events))


class Given(Generic[A]):
    """An aggregate, ready for a command."""

    def __init__(self, story: _Story[A]) -> None:
        self._story = story

    def when(
        self,
        command: Command,
        *,
        id: str | None = None,
        time: datetime | None = None,
        actor: str | None = None,
        metadata: Mapping[str, str] | None = None,
        correlation_id: str | None = None,
    ) -> When[A]:
        """What the aggregate decides on `command`. `id` and `time` (aware) also hold for the commands after this one.

        Invariants are checked as they are in production. Raises `AssertionError` if the decision changed the aggregate, the
        command or an event: it must only return events. So it does for a command or an event that cannot be written to the log.
        Errors other than a rejection come through, `InvariantBroken` too.
        """
        __tracebackhide__ = True
        if time is not None and time.utcoffset() is None:
            raise ValueError(f"time={time!r} has no time zone: give it one, such as datetime(2000, 1, 1, tzinfo=UTC)")
        story = replace(self._story, id=id or self._story.id, time=(time or self._story.time).astimezone(UTC))
        command_id = f"command-{story.commands + 1}"
        context = Context(
            id=story.id,
            version=len(story.history),
            time=story.time,
            command_id=command_id,
            correlation_id=correlation_id or command_id,
            actor=actor,
            metadata=MappingProxyType(dict(metadata or {})),
        )
        return _decide(replace(story, commands=story.commands + 1), command, context)

    def then_state(self, *checks: Callable[[A], object], **attributes: object) -> Given[A]:
        """Asserts that the aggregate exists, has these attributes, and passes each check (one that returns False fails)."""
        __tracebackhide__ = True
        self._story.check_state(checks, attributes)
        return self


class When(Generic[A]):
    """What became of one command."""

    def __init__(self, before: _Story[A], command: Command, outcome: tuple[Event, ...] | _Refusal) -> None:
        self._before = before
        self._command = command
        self._outcome = outcome

    def then(self, *events: Event) -> Given[A]:
        """Asserts that the decision is exactly these events, in this order. Another `when` may follow."""
        __tracebackhide__ = True
        happened = self._accepted([f"the events{':' if events else ' (none)'}", *_indented(_lines(events))])
        if list(happened) != list(events):
            raise self._failed(["other events (- expected, + happened):", *_indented(diff(events, happened))])
        return Given(self._before.after(happened))

    def then_nothing(self) -> Given[A]:
        """Asserts that the command was accepted and made no event."""
        __tracebackhide__ = True
        return self.then()

    def then_state(self, *checks: Callable[[A], object], **attributes: object) -> Given[A]:
        """Asserts that the command was accepted, and what `Given.then_state` does of the aggregate after its events."""
        __tracebackhide__ = True
        return Given(self._before.after(self._accepted(["the command accepted"]))).then_state(*checks, **attributes)

    def then_rejected(self, rejection: type[Rejected] = Rejected, **details: object) -> Given[A]:
        """Asserts that the domain raised `rejection` (or a subclass), with these details; those not named may be anything."""
        __tracebackhide__ = True
        wanted = f"{name_of(rejection)}{f' with {_arguments(details)}' if details else ''}"
        refusal = self._refused(rejection, wanted)
        for name, expected in details.items():
            actual = getattr(refusal, name, NOTHING)
            if actual != expected:
                raise self._failed([f"expected {wanted}", f"but {name} is {actual!r}: {refusal}"], refusal)
        return Given(self._before)

    def then_not_found(self) -> Given[A]:
        """Asserts that the command met no aggregate, and does not create one."""
        __tracebackhide__ = True
        self._refused(NotFound, name_of(NotFound))
        return Given(self._before)

    def then_already_exists(self) -> Given[A]:
        """Asserts that the command only creates, and met an aggregate that exists."""
        __tracebackhide__ = True
        self._refused(AlreadyExists, name_of(AlreadyExists))
        return Given(self._before)

    def _accepted(self, expected: list[str]) -> tuple[Event, ...]:
        __tracebackhide__ = True
        if isinstance(self._outcome, tuple):
            return self._outcome
        raise self._failed([f"expected {expected[0]}", *expected[1:], f"but {_called(self._outcome)}"], self._outcome)

    def _refused(self, kind: type[_R], wanted: str) -> _R:
        __tracebackhide__ = True
        outcome = self._outcome
        if isinstance(outcome, tuple):
            instead = [
                f"but it was accepted, with {'these events:' if outcome else 'no event'}",
                *_indented(_lines(outcome)),
            ]
            raise self._failed([f"expected {wanted}", *instead])
        if not isinstance(outcome, kind):
            raise self._failed([f"expected {wanted}", f"but {_called(outcome)}"], outcome)
        return outcome

    def _failed(self, what: list[str], cause: BaseException | None = None) -> AssertionError:
        story = [*self._before.told(), "when", *_indented(shown(self._command)), *what]
        error = AssertionError("\n".join(story))
        error.__cause__ = cause
        return error


@dataclass(frozen=True)
class _Story(Generic[A]):
    """What happened so far. Each event is kept with a copy, which shows whether anything changed it since."""

    definition: AggregateDefinition[A]
    id: str
    time: datetime = START
    state: A | None = None
    history: tuple[tuple[Event, Event, Event], ...] = ()
    """The events as they were given or decided, as the log gives them back, and a copy of the latter."""
    commands: int = 0

    def after(self, events: Iterable[Event]) -> _Story[A]:
        __tracebackhide__ = True
        read = ((event, written_and_read(event)) for event in events)
        history = (*self.history, *((event, logged, copy.deepcopy(logged)) for event, logged in read))
        # from the first event on, so that an event whose list the state took over is seen to change later
        state: A | None = None
        for _, logged, _ in history:
            state = self.definition.evolve(state, logged)
        later = replace(self, state=state, history=history)
        later.check_events(f"{name_of(self.definition.aggregate)} changed it while it applied events")
        return later

    def copied(self) -> A | None:
        return None if self.state is None else self.definition.copy(self.state)

    def check_events(self, how: str) -> None:
        __tracebackhide__ = True
        for _, event, original in self.history:
            if not same(event, original):
                raise AssertionError(
                    f"the event {name_of(type(event))} is not what it was, since {how}: copy what it holds, as in list(event.items)\n"
                    + "\n".join(_indented(changes(dict(original), dict(event))))
                )

    def check_state(self, checks: Iterable[Callable[[A], object]], attributes: Mapping[str, object]) -> None:
        __tracebackhide__ = True
        if self.state is None:
            raise AssertionError("\n".join([*self.told(), "expected an aggregate, but none exists"]))
        wrong = {name: value for name, value in attributes.items() if getattr(self.state, name, NOTHING) != value}
        if wrong:
            lines = [
                f"{name}: expected {value!r}, found {getattr(self.state, name, NOTHING)!r}"
                for name, value in wrong.items()
            ]
            raise AssertionError("\n".join([*self.told(), "expected another state", *_indented(lines)]))
        for check in checks:
            state = self.copied()
            assert state is not None
            if check(state) is False:
                raise AssertionError(
                    "\n".join([*self.told(), "the check returned False for", *_indented([repr(self.state)])])
                )

    def told(self) -> list[str]:
        name = f"{name_of(self.definition.aggregate)} {self.id!r}"
        if not self.history:
            return [f"given no {name}"]
        return [
            f"given {name} at version {len(self.history)}",
            *_indented(_lines(event for event, _, _ in self.history)),
        ]


def _decide(story: _Story[A], command: Command, context: Context) -> When[A]:
    __tracebackhide__ = True
    command = written_and_read(command)
    state, sent = story.copied(), copy.deepcopy(command)
    outcome: tuple[Event, ...] | _Refusal
    try:
        outcome = story.definition.decide(state, command, context)
    except (Rejected, NotFound, AlreadyExists) as refusal:
        outcome = refusal
    name = name_of(story.definition.aggregate)
    if state is not None and story.state is not None and not same(vars(state), vars(story.state)):
        raise AssertionError(
            f"{name} changed while it decided on {name_of(type(command))}: a decision only returns events, so make the change "
            "in the method that applies the event\n" + "\n".join(_indented(changes(vars(story.state), vars(state))))
        )
    if not same(command, sent):
        raise AssertionError(
            f"{name} changed the command {name_of(type(command))} while it decided on it: copy what it holds, as in "
            "list(command.items)\n" + "\n".join(_indented(changes(dict(sent), dict(command))))
        )
    story.check_events(f"{name} changed it while it decided on {name_of(type(command))}")
    for event in outcome if isinstance(outcome, tuple) else ():
        written_and_read(event)
    if isinstance(outcome, tuple) and outcome and story.definition.invariants:
        outcome = _if_invariants_hold(story, outcome)
    return When(story, command, outcome)


def _if_invariants_hold(story: _Story[A], events: tuple[Event, ...]) -> tuple[Event, ...] | Rejected:
    __tracebackhide__ = True
    state = story.after(events).state
    assert state is not None
    try:
        story.definition.check_invariants(state)
    except Rejected as refusal:
        return refusal
    return events


def _lines(items: Iterable[object]) -> list[str]:
    return [line for item in items for line in shown(item)]


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _arguments(details: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in details.items())


def _called(refusal: _Refusal) -> str:
    if isinstance(refusal, Rejected):
        return f"it was rejected with {name_of(type(refusal))}: {refusal}"
    return f"it met {name_of(type(refusal))}: {refusal}"
