"""Handlers: the methods of a projection that fold events into rows, and the decorator that marks them."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any, Final, TypeVar, overload

from eventsource.domain import Event
from eventsource.domain.annotations import Scope, alternatives, annotations_of, name_of, resolve
from eventsource.errors import DefinitionError
from eventsource.log.recorded import RecordedEvent
from projections.keys import BY_ID, KeyKind, KeySpec
from projections.rows import is_rows, row_type_of

F = TypeVar("F", bound=Callable[..., Any])
E = TypeVar("E", bound=Event)
_MARK: Final = "__projects__"


@dataclass(frozen=True, slots=True)
class Mark:
    """What `@projects(…)` says: the events that it names, if any, and where the keys come from."""

    events: tuple[type[Event], ...] = ()
    keys: KeySpec = BY_ID


@dataclass(frozen=True, slots=True)
class Handler:
    """A method of a projection, read and checked."""

    method: str
    where: str
    """How it is called in error messages."""
    function: Callable[..., Any]
    events: tuple[type[Event], ...]
    keys: KeySpec
    takes_recorded: bool


@overload
def projects(method: F, /) -> F: ...


@overload
def projects(
    event: type[E],
    /,
    *events: type[E],
    item: Callable[[E], Any] | Callable[[E, RecordedEvent], Any] | None = None,
    items: Callable[[E], Iterable[Any]] | Callable[[E, RecordedEvent], Iterable[Any]] | None = None,
    key: Callable[[E], Any] | Callable[[E, RecordedEvent], Any] | None = None,
    keys: Callable[[E], Iterable[Any]] | Callable[[E, RecordedEvent], Iterable[Any]] | None = None,
) -> Callable[[F], F]: ...


@overload
def projects(
    *,
    item: Callable[[Any], Any] | Callable[[Any, RecordedEvent], Any] | None = None,
    items: Callable[[Any], Iterable[Any]] | Callable[[Any, RecordedEvent], Iterable[Any]] | None = None,
    key: Callable[[Any], Any] | Callable[[Any, RecordedEvent], Any] | None = None,
    keys: Callable[[Any], Iterable[Any]] | Callable[[Any, RecordedEvent], Iterable[Any]] | None = None,
) -> Callable[[F], F]: ...


def projects(*arguments: Any, **named: Any) -> Any:
    """Marks a method that folds the event in its annotation into a row: `(self, event, row[, recorded]) -> None`.

    The row is the one whose primary key is the aggregate's id, made with its defaults where there is none; each such
    row has one writer. `return Deleted()` deletes it. A union in the annotation takes several events. A third parameter
    annotated with `RecordedEvent` gives version, time and ids. At most one of these says that the keys are others; each is a
    function of the event, or of the event and `RecordedEvent`:

    * `item=lambda e: e.line`: several rows per aggregate; the primary key is the aggregate's id and the item (a tuple
      fills several columns);
    * `items=lambda e: e.lines`: the same with several rows for one event; the method gets `rows: Rows[Model]`;
    * `key=lambda e: e.branch`: the whole primary key. The row is shared: events of several partitions meet in it in no
      particular order, so what the method does must be commutative; the row is locked meanwhile;
    * `keys=lambda e: (e.source, e.target)`: the same with several rows; the method gets `rows: Rows[Model]`.

    Naming the event classes too, `@projects(Moved, keys=…)`, types the function's argument.
    """
    if len(arguments) == 1 and not named and not isinstance(arguments[0], type):
        _refuse_overwriting(arguments[0], sys._getframe(1).f_locals)
        return _mark(arguments[0], Mark())
    mark = Mark(_event_classes(arguments), _key_spec(named))

    def decorate(method: Any) -> Any:
        _refuse_overwriting(method, sys._getframe(1).f_locals)
        return _mark(method, mark)

    return decorate


def _event_classes(arguments: tuple[Any, ...]) -> tuple[type[Event], ...]:
    for argument in arguments:
        if not (isinstance(argument, type) and issubclass(argument, Event)):
            raise DefinitionError(f"@projects names {argument!r}, which is no event class: name events, or nothing")
    return arguments


def _key_spec(named: Mapping[str, Any]) -> KeySpec:
    given = {name: function for name, function in named.items() if function is not None}
    unknown = set(given) - {kind.value for kind in KeyKind if kind is not KeyKind.ID}
    if unknown:
        raise DefinitionError(f"@projects does not know {sorted(unknown)[0]}=: it takes item=, items=, key= or keys=")
    if len(given) > 1:
        raise DefinitionError(
            f"@projects is given {' and '.join(sorted(given))}: a method finds its rows in one way, keep one of them"
        )
    for name, function in given.items():
        return KeySpec(KeyKind(name), function)
    return BY_ID


def _mark(method: Any, mark: Mark) -> Any:
    if not isinstance(method, FunctionType):
        raise DefinitionError(
            f"@projects stands above {method!r}: put it directly above an ordinary def, without @classmethod or @staticmethod"
        )
    if hasattr(method, _MARK):
        raise DefinitionError(
            f"{method.__qualname__} bears @projects twice: keep one, with a union in the annotation if need be"
        )
    setattr(method, _MARK, mark)
    return method


def _refuse_overwriting(method: Any, namespace: Mapping[str, Any]) -> None:
    # the second `def` of one name silently replaces the first, and its event would go unfolded
    if "__qualname__" in namespace and marked(namespace.get(getattr(method, "__name__", ""))):
        raise DefinitionError(
            f"{method.__qualname__} is defined twice, and the second would replace the first: rename one of them"
        )


def marked(attribute: object) -> bool:
    """Whether an attribute of a class is a handler, however it is wrapped."""
    return hasattr(getattr(attribute, "__func__", attribute), _MARK)


def read_handler(cls: type, name: str, attribute: object, model: type, locals_: Mapping[str, Any]) -> Handler:
    """The handler that `cls` has under `name`; raises `DefinitionError` when it is not of the form that its mark demands."""
    where = f"{cls.__qualname__}.{name}"
    if not isinstance(attribute, FunctionType):
        raise DefinitionError(f"{where}: @projects needs an ordinary method: take away @{type(attribute).__name__}")
    if inspect.iscoroutinefunction(attribute) or inspect.isasyncgenfunction(attribute):
        raise DefinitionError(f"{where} is async, and folding is synchronous: write def, and call nothing that waits")
    if inspect.isgeneratorfunction(attribute):
        raise DefinitionError(
            f"{where} yields, and its body would never run: change the row in place, and return nothing"
        )
    mark: Mark = getattr(attribute, _MARK)
    scope = Scope(attribute.__globals__, locals_)
    event, row, recorded = _parameters(where, attribute, scope)
    events = _events(where, event, mark.events)
    _check_row(where, row, mark.keys.kind, model)
    return Handler(name, where, attribute, events, mark.keys, takes_recorded=recorded)


@dataclass(frozen=True, slots=True)
class _Parameter:
    name: str
    annotation: Any


def _parameters(where: str, function: FunctionType, scope: Scope) -> tuple[_Parameter, _Parameter, bool]:
    parameters = list(inspect.signature(function).parameters.values())[1:]
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if len(parameters) not in (2, 3) or any(parameter.kind not in positional for parameter in parameters):
        raise DefinitionError(
            f"{where} takes ({', '.join(map(str, parameters))}): it must take an event, a row (or rows) and, if it likes, a RecordedEvent"
        )
    annotations = annotations_of(function)
    read = []
    for parameter, wanted in zip(parameters, ("the event", "the read model", "RecordedEvent"), strict=False):
        if parameter.name not in annotations:
            raise DefinitionError(
                f"{where}: the parameter {parameter.name!r} has no annotation: annotate it with {wanted}"
            )
        read.append(_Parameter(parameter.name, resolve(annotations[parameter.name], scope, where)))
    if len(read) == 3 and read[2].annotation is not RecordedEvent:
        raise DefinitionError(
            f"{where}: the parameter {read[2].name!r} is annotated with {name_of(read[2].annotation)}: besides event and row a handler "
            "gets nothing but a RecordedEvent"
        )
    return read[0], read[1], len(read) == 3


def _events(where: str, parameter: _Parameter, named: tuple[type[Event], ...]) -> tuple[type[Event], ...]:
    found = tuple(dict.fromkeys(alternatives(parameter.annotation)))
    for member in found:
        if not (isinstance(member, type) and issubclass(member, Event)):
            raise DefinitionError(
                f"{where}: the parameter {parameter.name!r} is annotated with {name_of(member)}, which is no event: annotate it with "
                "the event that the method folds"
            )
        if member.message_abstract:
            raise DefinitionError(
                f"{where}: {name_of(member)} is abstract: name the events themselves, joined with | if there are several"
            )
    if named and set(named) != set(found):
        raise DefinitionError(
            f"{where}: @projects names {', '.join(map(name_of, named))}, the annotation of {parameter.name!r} "
            f"{', '.join(map(name_of, found))}: let both name the same events"
        )
    return found


def _check_row(where: str, parameter: _Parameter, kind: KeyKind, model: type) -> None:
    annotation, name = parameter.annotation, parameter.name
    if kind.several:
        if not is_rows(annotation):
            raise DefinitionError(
                f"{where}: with {kind.value}= the parameter {name!r} is several rows: annotate it with Rows[{model.__name__}]"
            )
        found = row_type_of(annotation)
        if found is not None and found is not model:
            raise DefinitionError(
                f"{where}: {name!r} is Rows[{name_of(found)}], and the projection builds {model.__name__}: name that"
            )
    elif is_rows(annotation):
        raise DefinitionError(
            f"{where}: {name!r} is Rows, and nothing says which: add keys= or items= to @projects, or annotate it with {model.__name__}"
        )
    elif annotation is not model:
        raise DefinitionError(
            f"{where}: the parameter {name!r} is annotated with {name_of(annotation)}, which is not the read model of the projection: "
            f"annotate it with {model.__name__}"
        )
