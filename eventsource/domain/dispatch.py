"""Which method of an aggregate takes which message, and the calls: what runs for every command and every event."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from eventsource.domain.annotations import name_of
from eventsource.domain.context import Context
from eventsource.domain.message import Command, Event, Message
from eventsource.errors import AlreadyExists, DefinitionError, InvariantBroken, NotFound

if TYPE_CHECKING:
    from eventsource.domain.aggregate import Aggregate

Decider = tuple[Callable[..., Any], bool, str]
"""A function, whether it takes a context, and what error messages call it."""
Applier = tuple[Callable[..., Any], str]
"""A function, and what error messages call it."""


class Dispatch:
    """The deciders and appliers of one aggregate class, by the class of message; its functions are pure but for what `evolve` says."""

    def __init__(
        self,
        name: str,
        aggregate: type[Aggregate[Any]],
        *,
        creating_deciders: Mapping[type[Message], Decider],
        deciders: Mapping[type[Message], Decider],
        creating_appliers: Mapping[type[Message], Applier],
        appliers: Mapping[type[Message], Applier],
        events: Iterable[type[Event]],
        invariants: tuple[Callable[[Any], Any], ...],
    ) -> None:
        self._name = name
        self._aggregate = aggregate
        self._creating_deciders = dict(creating_deciders)
        self._deciders = dict(deciders)
        self._creating_appliers = dict(creating_appliers)
        self._appliers = dict(appliers)
        self._events = set(events)
        self._invariants = invariants

    def wants_context(self, kind: type[Command], exists: bool) -> bool:
        """Whether the method that decides on such a command, for an aggregate that exists or not, takes a context."""
        found = (self._deciders if exists else self._creating_deciders).get(kind)
        return found is not None and found[1]

    def decide(
        self, state: Aggregate[Any] | None, command: Command, aggregate_id: str, context: Context | None
    ) -> tuple[Event, ...]:
        """As `AggregateDefinition.decide`; the context may be left out where `wants_context` says so."""
        found = (self._creating_deciders if state is None else self._deciders).get(type(command))
        if found is None:
            raise self._no_decider(state, command, aggregate_id)
        function, takes_context, where = found
        result: Any
        if state is None:
            result = function(command, context) if takes_context else function(command)
        else:
            result = function(state, command, context) if takes_context else function(state, command)
        if type(result) in self._events:
            return (result,)
        return self._checked(result, where)

    def evolve(self, state: Any, event: Event) -> Any:
        """The aggregate after `event`: `state` itself, changed in place, or a new one when `state` is None.

        Raises `DefinitionError` when the class does not apply the event there.
        """
        if state is None:
            found = self._creating_appliers.get(type(event))
            if found is None:
                raise self._no_applier(None, event)
            made = found[0](event)
            if type(made) is not self._aggregate:
                raise DefinitionError(
                    f"{found[1]} returned {_shown(made)}: return cls(…), the new {name_of(self._aggregate)}"
                )
            return made
        found = self._appliers.get(type(event))
        if found is None:
            raise self._no_applier(state, event)
        result = found[0](state, event)
        if result is not None:
            raise DefinitionError(f"{found[1]} returned {_shown(result)}: change self, and return nothing")
        return state

    def check_invariants(self, state: Aggregate[Any]) -> None:
        """Raises `InvariantBroken` where an invariant returned False, and whatever else it raised."""
        for holds in self._invariants:
            if holds(state) is False:
                raise InvariantBroken(self._name, holds.__name__)

    def _checked(self, result: Any, where: str) -> tuple[Event, ...]:
        if result is None:
            return ()
        # a message is iterable too, over its fields
        several = isinstance(result, Iterable) and not isinstance(result, Message | str | bytes | Mapping)
        events: tuple[Any, ...] = tuple(result) if several else (result,)
        for event in events:
            if type(event) not in self._events:
                raise DefinitionError(self._not_ours(event, where))
        return events

    def _not_ours(self, event: object, where: str) -> str:
        if isinstance(event, Event):
            return (
                f"{where} returned {name_of(type(event))}, an event that nothing in {name_of(self._aggregate)} "
                "applies: add a method with @applies for it"
            )
        return f"{where} returned {_shown(event)}, which is no event: return an event, several, or None"

    def _no_decider(self, state: Aggregate[Any] | None, command: Command, aggregate_id: str) -> Exception:
        kind = type(command)
        if state is None and kind in self._deciders:
            return NotFound(self._name, aggregate_id)
        if state is not None and kind in self._creating_deciders:
            return AlreadyExists(self._name, aggregate_id)
        return DefinitionError(
            f"{name_of(self._aggregate)} has no method for {name_of(kind)}: add one with @decides (or @creates) that takes it, or "
            "send it to the aggregate that has one"
        )

    def _no_applier(self, state: Aggregate[Any] | None, event: Event) -> DefinitionError:
        aggregate, what = name_of(self._aggregate), name_of(type(event))
        if state is None and type(event) in self._appliers:
            return DefinitionError(
                f"{aggregate} met {what} before it existed, and only changes by it: add a classmethod with @creates for it, or let "
                "another event come first"
            )
        if state is not None and type(event) in self._creating_appliers:
            return DefinitionError(
                f"{aggregate} met {what} when it existed already, and is only created by it: add a method with @applies for it, or "
                "decide on another event"
            )
        return DefinitionError(
            f"{aggregate} has no method for {what}: add one with @applies (or @creates) that takes it"
        )


def _shown(value: object) -> str:
    text = repr(value)
    return f"{text[:100]}…" if len(text) > 100 else text
