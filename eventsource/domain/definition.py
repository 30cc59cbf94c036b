"""What an aggregate class says, compiled: its messages by name, and the pure functions that the runtime calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic

from typing_extensions import TypeVar

from eventsource.domain.annotations import name_of
from eventsource.domain.context import Context
from eventsource.domain.copying import copier
from eventsource.domain.dispatch import Dispatch
from eventsource.domain.handlers import Handler
from eventsource.domain.ids import IdForm
from eventsource.domain.invariants import Invariant, invariants_of
from eventsource.domain.message import Command, Event, Message, complete_message
from eventsource.errors import DefinitionError, InvalidArgument

if TYPE_CHECKING:
    from eventsource.domain.aggregate import Aggregate

A = TypeVar("A", bound="Aggregate[Any]", default="Aggregate[Any]")
M = TypeVar("M", bound=Message)
_SHOWN_CHARACTERS: Final = 60


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class AggregateDefinition(Generic[A]):
    """One aggregate class, compiled when it is defined. All its functions are pure but for what `evolve` says."""

    name: str
    aggregate: type[A]
    commands: Mapping[str, type[Command]]
    """Every command by its name and by each of its aliases."""
    events: Mapping[str, type[Event]]
    """Every event by its name and by each of its aliases."""
    creating_commands: frozenset[type[Command]]
    """The commands that may meet an id that does not exist."""
    copy: Callable[[A], A]
    """A copy that can be evolved without changing the original."""
    dispatch: Dispatch
    """What `decide` and `evolve` call."""
    invariants: tuple[Invariant, ...] = ()
    state_revision: int = 1
    """Raised by hand when code outside of the class makes other state from the same events."""
    handlers: tuple[Handler, ...] = ()
    """Every method that handles a message, bases first."""
    ids: IdForm | None = None
    """The form that the class declares for its ids; None: any."""

    def __repr__(self) -> str:
        return f"<AggregateDefinition {self.name} of {name_of(self.aggregate)}>"

    def decide(self, state: A | None, command: Command, context: Context) -> tuple[Event, ...]:
        """The events that `command` makes of `state`, which is None when the aggregate does not exist.

        Raises the domain's own `Rejected`; `NotFound` when there is no aggregate and the command does not create one;
        `AlreadyExists` when there is one and the command only creates; `DefinitionError` when the class does not handle
        the command or returned anything but its own events. Whatever else the domain's code raises comes through.
        """
        return self.dispatch.decide(state, command, context.id, context)

    def evolve(self, state: A | None, event: Event) -> A:
        """The aggregate after `event`: `state` itself, changed in place, or a new one when `state` is None.

        Raises `DefinitionError` when the class does not apply the event there.
        """
        evolved: A = self.dispatch.evolve(state, event)
        return evolved

    def check_id(self, aggregate_id: str) -> None:
        """Raises `InvalidArgument` for an id that is not of the form that the class declares."""
        fault = self.ids.fault_of(aggregate_id) if self.ids is not None else None
        if fault is not None:
            shown = f"{aggregate_id[:_SHOWN_CHARACTERS]}…" if len(aggregate_id) > _SHOWN_CHARACTERS else aggregate_id
            raise InvalidArgument(f"the id {shown!r} of aggregate {self.name!r} {fault}")

    def check_invariants(self, state: A) -> None:
        """Raises `InvariantBroken` where an invariant returned False, and whatever else it raised."""
        self.dispatch.check_invariants(state)


def define(
    aggregate: type[A],
    name: str,
    handlers: Iterable[Handler],
    state_revision: int = 1,
    ids: IdForm | None = None,
) -> AggregateDefinition[A]:
    """Compiles `aggregate`; raises `DefinitionError` where its handlers contradict each other or leave something out."""
    handlers = tuple(handlers)
    deciding = [handler for handler in handlers if handler.decides]
    applying = [handler for handler in handlers if not handler.decides]
    creating_deciders = _by_message(aggregate, (handler for handler in deciding if handler.creates))
    deciders = _by_message(aggregate, (handler for handler in deciding if not handler.creates))
    creating_appliers = _by_message(aggregate, (handler for handler in applying if handler.creates))
    appliers = _by_message(aggregate, (handler for handler in applying if not handler.creates))
    _check_decisions(aggregate, deciding, frozenset(creating_appliers), frozenset(appliers))
    commands = _distinct(Command, deciding)
    events = _distinct(Event, applying)
    by_name = _by_name(aggregate, (*commands, *events))
    for message in (*commands, *events):
        _check_complete(aggregate, message)
    invariants = invariants_of(aggregate)
    dispatch = Dispatch(
        name,
        aggregate,
        creating_deciders={
            kind: (getattr(aggregate, handler.method), handler.takes_context, handler.where)
            for kind, handler in creating_deciders.items()
        },
        deciders={kind: (handler.function, handler.takes_context, handler.where) for kind, handler in deciders.items()},
        creating_appliers={
            kind: (getattr(aggregate, handler.method), handler.where) for kind, handler in creating_appliers.items()
        },
        appliers={kind: (handler.function, handler.where) for kind, handler in appliers.items()},
        events=events,
        invariants=invariants,
    )
    return AggregateDefinition(
        name=name,
        aggregate=aggregate,
        commands=_only(Command, by_name),
        events=_only(Event, by_name),
        creating_commands=frozenset(kind for kind in commands if kind in creating_deciders),
        copy=copier(aggregate),
        dispatch=dispatch,
        invariants=invariants,
        state_revision=state_revision,
        handlers=handlers,
        ids=ids,
    )


def check_creates(definition: AggregateDefinition[Any]) -> None:
    """Raises `DefinitionError` for an aggregate that no event creates."""
    if not any(handler.creates and not handler.decides for handler in definition.handlers):
        raise DefinitionError(
            f"aggregate {name_of(definition.aggregate)} can never exist, since no event creates it: add a classmethod with @creates that "
            "takes the first event and returns cls(…), and another that takes a command and returns that event; or write abstract=True "
            "in place of the name, for a base of other aggregates"
        )


def _by_message(aggregate: type, handlers: Iterable[Handler]) -> dict[type[Message], Handler]:
    found: dict[type[Message], Handler] = {}
    for handler in handlers:
        for message in handler.messages:
            other = found.setdefault(message, handler)
            if other is not handler:
                verb = "decide on" if handler.decides else "apply"
                raise DefinitionError(
                    f"{name_of(aggregate)}: the methods {other.method!r} and {handler.method!r} both {verb} "
                    f"{name_of(message)}: keep one of them"
                )
    return found


def _check_decisions(
    aggregate: type,
    deciding: Iterable[Handler],
    creating: frozenset[type[Message]],
    applied: frozenset[type[Message]],
) -> None:
    for handler in deciding:
        for decision in handler.decisions:
            for event in _sorted(decision.events - creating - applied):
                raise DefinitionError(
                    f"{handler.where} returns {name_of(event)}, an event that nothing in {name_of(aggregate)} applies: add a "
                    f"{'classmethod with @creates' if handler.creates else 'method with @applies'} that takes it"
                )
            unable = _sorted(decision.first - creating) if handler.creates else _sorted(decision.first - applied)
            if handler.creates and unable and (decision.ordered or not decision.first & creating):
                raise DefinitionError(
                    f"{handler.where} creates by {name_of(unable[0])}, which nothing in {name_of(aggregate)} creates from: add "
                    "a classmethod with @creates that takes it"
                )
            later = _sorted(decision.later - applied) if decision.ordered else []
            if not handler.creates:
                later = _sorted(decision.events - applied)
            if later:
                raise DefinitionError(
                    f"{handler.where} returns {name_of(later[0])} for an aggregate that exists, and {name_of(aggregate)} is "
                    "only created by it: add a method with @applies that takes it"
                )
        if handler.creates and not creating:
            raise DefinitionError(
                f"{handler.where} creates, and no event of {name_of(aggregate)} does: add a classmethod with @creates that takes "
                "the event and returns the new aggregate"
            )


def _sorted(events: Iterable[type[Message]]) -> list[type[Message]]:
    return sorted(events, key=lambda event: event.__qualname__)


def _distinct(kind: type[M], handlers: Iterable[Handler]) -> tuple[type[M], ...]:
    found = (message for handler in handlers for message in handler.messages if issubclass(message, kind))
    return tuple(dict.fromkeys(found))


def _by_name(aggregate: type, messages: Iterable[type[Message]]) -> dict[str, type[Message]]:
    found: dict[str, type[Message]] = {}
    for message in messages:
        for name in (message.message_name, *message.message_aliases):
            other = found.setdefault(name, message)
            if other is not message:
                raise DefinitionError(
                    f"{name_of(aggregate)}: {name_of(other)} and {name_of(message)} both bear the name {name!r}: give one of "
                    "them another name (or take away the alias)"
                )
    return found


def _only(kind: type[M], by_name: Mapping[str, type[Message]]) -> Mapping[str, type[M]]:
    return MappingProxyType({name: message for name, message in by_name.items() if issubclass(message, kind)})


def _check_complete(aggregate: type, message: type[Message]) -> None:
    if not complete_message(message) or not message.__pydantic_complete__:
        raise DefinitionError(
            f"{name_of(message)}, which {name_of(aggregate)} uses, has a field whose type is not defined yet: define or "
            "import that type above the message"
        )
