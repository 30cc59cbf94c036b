"""What a projection class says, compiled: which events go to which function, and how each finds its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from eventsource.domain import Event
from eventsource.errors import DefinitionError
from eventsource.log.recorded import Recorded
from projections.handlers import Handler
from projections.keys import KeyKind, several_keys, single_key
from projections.read_model import ReadModel
from projections.twin import Key, Twin, python_type_of, twin_of

M = TypeVar("M", bound=ReadModel)


@dataclass(frozen=True, slots=True)
class BoundHandler:
    """A handler ready to be called. One of `single_key` and `several_keys` is there."""

    where: str
    call: Callable[..., Any]
    takes_recorded: bool
    single_key: Callable[[Recorded], Key] | None
    several_keys: Callable[[Recorded], dict[Any, Key]] | None
    id_type: type | None = None
    """What an aggregate's id becomes in the key: `str`, `int` or `UUID`; None where it is no part of it."""


@dataclass(frozen=True, slots=True, eq=False)
class ProjectionDefinition(Generic[M]):
    """One projection class, compiled when it is defined."""

    name: str
    revision: int
    where: str
    twin: Twin[M]
    handlers: Mapping[type[Event], BoundHandler]
    shared: bool
    """Whether a handler names keys of its own, so that partitions may meet in one row."""

    @property
    def model(self) -> type[M]:
        return self.twin.model

    @property
    def events(self) -> frozenset[type[Event]]:
        return frozenset(self.handlers)


def define(cls: type, name: str, revision: int, model: type[M], handlers: Iterable[Handler]) -> ProjectionDefinition[M]:
    """Compiles a projection class; raises `DefinitionError` where its handlers contradict each other or the model."""
    handlers = tuple(handlers)
    if not handlers:
        raise DefinitionError(f"projection {cls.__qualname__} folds nothing: add a method with @projects")
    twin = twin_of(model)
    instance = cls()
    bound: dict[type[Event], BoundHandler] = {}
    methods: dict[type[Event], str] = {}
    for handler in handlers:
        ready = _bind(handler, instance, twin)
        for event in handler.events:
            if event in bound:
                raise DefinitionError(
                    f"{cls.__qualname__}: the methods {methods[event]!r} and {handler.method!r} both fold {event.__qualname__}: "
                    "keep one of them"
                )
            bound[event] = ready
            methods[event] = handler.method
    kinds = {handler.keys.kind for handler in handlers}
    shared = any(kind.shared for kind in kinds)
    definition = ProjectionDefinition(name, revision, cls.__qualname__, twin, bound, shared)
    if shared:
        check_defaults(definition, "its rows are shared between partitions")
    return definition


def check_defaults(definition: ProjectionDefinition[Any], because: str) -> None:
    """Raises `DefinitionError` unless a row can be inserted before it is folded, which is how shared rows are locked."""
    for column in definition.twin.columns:
        if not column.key and not column.has_default:
            raise DefinitionError(
                f"{definition.where}: {because}, so missing ones are inserted before they are folded, and "
                f"{definition.twin.name}.{column.attribute} has no default: give it one"
            )


def _bind(handler: Handler, instance: object, twin: Twin[Any]) -> BoundHandler:
    kind = handler.keys.kind
    several = kind in (KeyKind.ITEMS, KeyKind.KEYS)
    return BoundHandler(
        where=handler.where,
        call=handler.function.__get__(instance),
        takes_recorded=handler.takes_recorded,
        single_key=None if several else single_key(handler.keys, twin, handler.where),
        several_keys=several_keys(handler.keys, twin, handler.where) if several else None,
        id_type=None if kind.shared else python_type_of(twin.key_columns[0].column),
    )
