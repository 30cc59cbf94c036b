"""Handlers: the methods of an aggregate that decide on commands and apply events, and the decorators that mark them."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import Enum
from types import FunctionType
from typing import Any, TypeVar, get_args, get_origin

import typing_extensions
from pydantic import BaseModel

from eventsource.domain.annotations import Scope, alternatives, annotations_of, name_of, resolve
from eventsource.domain.context import Context
from eventsource.domain.message import Command, Event, Message
from eventsource.errors import DefinitionError

M = TypeVar("M")


class Mark(Enum):
    """Which decorator a method bears."""

    CREATES = "creates"
    DECIDES = "decides"
    APPLIES = "applies"


_MARK = "__eventsource_mark__"
_MARK_BY_NAME = {"decide": Mark.DECIDES, "evolve": Mark.APPLIES}


def creates(method: M) -> M:
    """Marks a classmethod that may meet an id that does not exist yet.

    With a command it decides, `(cls, command[, context]) -> event(s)`; with an event it makes the aggregate,
    `(cls, event) -> Self`. Write `@creates` above `@classmethod`.
    """
    return _mark(method, Mark.CREATES)


def decides(method: M) -> M:
    """Marks a method that decides on the command in its annotation: `(self, command[, context]) -> event(s)`.

    It returns one event, several (a tuple, a list, an iterator) or None; it raises a `Rejected` to refuse; it changes
    nothing. A union in the annotation takes several commands, to be told apart with `match`. A method called `decide`
    needs no decorator.
    """
    return _mark(method, Mark.DECIDES)


def applies(method: M) -> M:
    """Marks a method that changes the aggregate by the event in its annotation: `(self, event) -> None`.

    It never refuses: the event is a fact. A union in the annotation takes several events, to be told apart with
    `match`. A method called `evolve` needs no decorator.
    """
    return _mark(method, Mark.APPLIES)


@dataclass(frozen=True, slots=True)
class Decision:
    """One alternative in the annotation of what a decider returns."""

    first: frozenset[type[Event]]
    """The events that may come first."""
    later: frozenset[type[Event]]
    """The events that may follow it."""
    ordered: bool = True
    """False for a list or an iterator, whose annotation does not tell what comes first."""

    @property
    def events(self) -> frozenset[type[Event]]:
        return self.first | self.later


@dataclass(frozen=True, slots=True)
class Handler:
    """A method of an aggregate that takes messages."""

    method: str
    """The method's name."""
    where: str
    """How it is called in error messages."""
    function: Callable[..., Any]
    """The function itself; for a classmethod what lies below it."""
    creates: bool
    messages: tuple[type[Message], ...]
    takes_context: bool = False
    decisions: tuple[Decision, ...] = ()
    """What the return annotation says; empty when it says nothing."""

    @property
    def decides(self) -> bool:
        return issubclass(self.messages[0], Command)


def mark_of(name: str, attribute: object) -> Mark | None:
    """The mark of an attribute found under `name` in a class, None if it is no handler."""
    function = _function_of(attribute)
    mark: Mark | None = getattr(function, _MARK, None)
    if mark is None and isinstance(attribute, FunctionType):
        return _MARK_BY_NAME.get(name)
    return mark


def read_handler(cls: type, name: str, attribute: object, mark: Mark, scope: Scope) -> Handler:
    """The handler that `cls` defines under `name`; raises `DefinitionError` when it is not of the form its mark demands."""
    where = f"{name_of(cls)}.{name}"
    function = _function_of(attribute)
    _check_kind(where, attribute, function, mark)
    annotations = annotations_of(function)
    message, context = _parameters(where, function, mark)
    if message.name not in annotations:
        raise DefinitionError(
            f"{where}: the parameter {message.name!r} has no annotation: annotate it with the {_noun(mark)} that the method takes"
        )
    messages = _messages(where, message.name, resolve(annotations[message.name], scope, where), mark)
    deciding = issubclass(messages[0], Command)
    if context is not None:
        _check_context(where, context, annotations, scope, deciding=deciding)
    decisions: tuple[Decision, ...] = ()
    if deciding and "return" in annotations:
        decisions = tuple(_decisions(where, resolve(annotations["return"], scope, where)))
    if not deciding and inspect.isgeneratorfunction(function):
        raise DefinitionError(
            f"{where}: a method that applies an event must not yield, its body would never run: take the yield out"
        )
    return Handler(
        method=name,
        where=where,
        function=function,
        creates=mark is Mark.CREATES,
        messages=messages,
        takes_context=context is not None,
        decisions=decisions,
    )


def _mark(method: M, mark: Mark) -> M:
    function = _function_of(method)
    decorator = f"@{mark.value}"
    if not isinstance(function, FunctionType):
        raise DefinitionError(
            f"{decorator} stands above {method!r}, which is no method: put it above a def or its @classmethod"
        )
    other: Mark | None = getattr(function, _MARK, None)
    if other is not None:
        raise DefinitionError(f"{name_of(function)} bears @{other.value} and {decorator}: keep one of them")
    _refuse_overwriting(function, sys._getframe(2).f_locals)
    setattr(function, _MARK, mark)
    return method


def _refuse_overwriting(function: FunctionType, namespace: dict[str, Any]) -> None:
    # the second `def` of one name silently replaces the first, and its message would go unhandled
    earlier = namespace.get(function.__name__) if "__qualname__" in namespace else None
    if hasattr(_function_of(earlier), _MARK):
        raise DefinitionError(
            f"{name_of(function)} is defined twice, and the second would replace the first: rename one of them"
        )


def _function_of(attribute: object) -> Any:
    return attribute.__func__ if isinstance(attribute, classmethod | staticmethod) else attribute


def _noun(mark: Mark) -> str:
    return {Mark.CREATES: "command or event", Mark.DECIDES: "command", Mark.APPLIES: "event"}[mark]


def _check_kind(where: str, attribute: object, function: Any, mark: Mark) -> None:
    decorator = f"@{mark.value}"
    if mark is Mark.CREATES and not isinstance(attribute, classmethod):
        raise DefinitionError(
            f"{where}: {decorator} needs a classmethod, since there is no aggregate yet: put @classmethod below it"
        )
    if mark is not Mark.CREATES and not isinstance(attribute, FunctionType):
        raise DefinitionError(
            f"{where}: {decorator} needs an ordinary method: take away @{type(attribute).__name__}, or use @creates if the "
            "aggregate does not exist yet"
        )
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise DefinitionError(
            f"{where} is async, and the domain is synchronous: write def, and do the waiting outside of the domain"
        )


def _parameters(where: str, function: Any, mark: Mark) -> tuple[inspect.Parameter, inspect.Parameter | None]:
    parameters = list(inspect.signature(function).parameters.values())[1:]
    if not parameters:
        raise DefinitionError(
            f"{where} takes no message: add a parameter annotated with the {_noun(mark)} that it takes"
        )
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    for index, parameter in enumerate(parameters):
        if index > 1 or parameter.kind not in positional:
            raise DefinitionError(
                f"{where}: the parameter {parameter.name!r} is unknown: a method that takes a command takes it and, if it likes, "
                "a Context; one that takes an event takes nothing else; both are positional"
            )
    return parameters[0], parameters[1] if len(parameters) > 1 else None


def _check_context(
    where: str, parameter: inspect.Parameter, annotations: dict[str, Any], scope: Scope, *, deciding: bool
) -> None:
    if not deciding:
        raise DefinitionError(
            f"{where}: a method that applies an event takes nothing else: take away the parameter {parameter.name!r}"
        )
    if parameter.name in annotations:
        annotation = resolve(annotations[parameter.name], scope, where)
        if annotation is not Context:
            raise DefinitionError(
                f"{where}: the parameter {parameter.name!r} is annotated with {name_of(annotation)}: the only thing that a "
                "decision gets besides the command is a Context"
            )


def _messages(where: str, parameter: str, annotation: Any, mark: Mark) -> tuple[type[Message], ...]:
    found = tuple(dict.fromkeys(alternatives(annotation)))
    for member in found:
        if not (isinstance(member, type) and issubclass(member, Message)):
            raise DefinitionError(
                f"{where}: the parameter {parameter!r} is annotated with {name_of(member)}, which is no message: annotate it "
                f"with the {_noun(mark)} that the method takes"
            )
        if member.message_abstract:
            raise DefinitionError(
                f"{where}: the parameter {parameter!r} is annotated with {name_of(member)}, which is abstract: name the "
                "messages themselves, joined with | if there are several"
            )
    commands = [member for member in found if issubclass(member, Command)]
    events = [member for member in found if issubclass(member, Event)]
    if commands and events:
        raise DefinitionError(f"{where} takes commands and events at once: write one method for each kind")
    if mark is Mark.DECIDES and events:
        raise DefinitionError(
            f"{where} decides on {name_of(events[0])}, which is an event: use @applies, or name a command"
        )
    if mark is Mark.APPLIES and commands:
        raise DefinitionError(
            f"{where} applies {name_of(commands[0])}, which is a command: use @decides, or name an event"
        )
    return found


_SEQUENCES = (tuple, list, Iterable, AbstractSet)


def _decisions(where: str, annotation: Any) -> Iterator[Decision]:
    for member in alternatives(annotation):
        origin = get_origin(member)
        if isinstance(member, type) and issubclass(member, Event):
            if not member.message_abstract:
                yield Decision(frozenset({member}), frozenset())
        elif isinstance(origin, type) and issubclass(origin, _SEQUENCES):
            yield from _sequence(where, origin, get_args(member))
        elif _is_no_event(member):
            raise DefinitionError(
                f"{where} returns {name_of(member)} by its annotation, which is no event: return an event, a tuple, list or "
                "iterator of events, or None"
            )


def _sequence(where: str, origin: type, arguments: tuple[Any, ...]) -> Iterator[Decision]:
    if origin is tuple and not (len(arguments) == 2 and arguments[1] is Ellipsis):
        slots = [_events(where, argument) for argument in arguments]
        if slots:
            yield Decision(slots[0], frozenset().union(*slots[1:]))
    elif arguments:
        events = _events(where, arguments[0])
        yield Decision(events, events, ordered=False)


def _events(where: str, annotation: Any) -> frozenset[type[Event]]:
    return frozenset(event for decision in _decisions(where, annotation) for event in decision.events)


def _is_no_event(member: Any) -> bool:
    if member is Any or member is object:  # Any is a class in Python 3.11
        return False
    several = (
        isinstance(member, type) and issubclass(member, _SEQUENCES) and not issubclass(member, str | bytes | BaseModel)
    )
    return member is typing_extensions.Self or (isinstance(member, type) and not several and member is not type(None))
