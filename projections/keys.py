"""Which rows an event touches: from its aggregate's id, from an item within the aggregate, or from any key it names."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final

from eventsource.errors import DefinitionError
from eventsource.log.recorded import RecordedEvent
from projections.twin import ID_CONVERTERS, Key, Twin, python_type_of


class KeyKind(Enum):
    """Where a handler's keys come from; the values are the arguments of `@projects`."""

    ID = "id"
    """The aggregate's id is the whole primary key."""
    ITEM = "item"
    """The primary key is the aggregate's id and what the function returns."""
    ITEMS = "items"
    """The same, with several rows for one event."""
    KEY = "key"
    """The function returns the whole primary key, so that a row may be shared between partitions."""
    KEYS = "keys"
    """The same, with several rows for one event."""

    @property
    def shared(self) -> bool:
        """Whether events of several partitions may meet in one row."""
        return self in (KeyKind.KEY, KeyKind.KEYS)

    @property
    def several(self) -> bool:
        """Whether the handler gets `Rows` instead of one row."""
        return self in (KeyKind.ITEMS, KeyKind.KEYS)


KeyFunction = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class KeySpec:
    """Where the keys of a handler come from, as written in `@projects(…)`."""

    kind: KeyKind = KeyKind.ID
    function: KeyFunction | None = None


BY_ID: Final = KeySpec()


class BadKey(ValueError):
    """Raised when a key function returns what cannot be a key of the read model."""


def single_key(spec: KeySpec, twin: Twin[Any], where: str) -> Callable[[RecordedEvent], Key]:
    """How a handler with one row finds its key. Raises `DefinitionError` when that cannot fit the model's primary key."""
    _check_shape(spec, twin, where)
    check = _checker(twin)
    if spec.kind is KeyKind.KEY:
        function = _key_function(spec, where)
        return lambda recorded: check(_tuple(function(recorded)))
    to_id = _id_converter(twin, where)
    if spec.kind is KeyKind.ID:
        return (lambda recorded: (recorded.id,)) if to_id is str else (lambda recorded: (to_id(recorded.id),))
    function = _key_function(spec, where)
    return lambda recorded: check((to_id(recorded.id), *_tuple(function(recorded))))


def several_keys(spec: KeySpec, twin: Twin[Any], where: str) -> Callable[[RecordedEvent], dict[Any, Key]]:
    """How a handler with several rows finds its keys: each as the handler knows it, with the whole key."""
    _check_shape(spec, twin, where)
    check = _checker(twin)
    function = _key_function(spec, where)
    if spec.kind is KeyKind.KEYS:
        return lambda recorded: {key: check(_tuple(key)) for key in _several(function(recorded))}
    to_id = _id_converter(twin, where)

    def items(recorded: RecordedEvent) -> dict[Any, Key]:
        first = to_id(recorded.id)
        return {item: check((first, *_tuple(item))) for item in _several(function(recorded))}

    return items


def _tuple(key: Any) -> Key:
    return key if isinstance(key, tuple) else (key,)


def _several(keys: Any) -> Iterable[Any]:
    if isinstance(keys, str | bytes) or not isinstance(keys, Iterable):
        raise BadKey(f"{keys!r} was returned where several keys are wanted: return a tuple or list of them")
    return keys


_FINAL_KEY_TYPES: Final = (str, int, bytes)


def _checker(twin: Twin[Any]) -> Callable[[Key], Key]:
    """A key of another type would be stored converted, not be found again, and its row begin anew: refuse it."""
    wanted = tuple(python_type_of(column.column) for column in twin.key_columns)
    names = tuple(column.attribute for column in twin.key_columns)
    zoned = tuple(bool(getattr(column.column.type, "timezone", False)) for column in twin.key_columns)

    def check(key: Key) -> Key:
        if len(key) != len(wanted):
            raise BadKey(
                f"the key {key!r} has {len(key)} values, and the primary key of {twin.name} is ({', '.join(names)})"
            )
        for value, type_, name, with_zone in zip(key, wanted, names, zoned, strict=True):
            if value.__class__ is type_ and type_ in _FINAL_KEY_TYPES:
                continue
            if type_ is not None and (not isinstance(value, type_) or (isinstance(value, bool) and type_ is not bool)):
                raise BadKey(
                    f"the value {value!r} for {twin.name}.{name} is a {type(value).__name__}, not a {type_.__name__}"
                )
            if with_zone and isinstance(value, datetime) and value.tzinfo is None:
                raise BadKey(f"the time {value!r} for {twin.name}.{name} has no time zone")
        return key

    return check


def _key_function(spec: KeySpec, where: str) -> Callable[[RecordedEvent], Any]:
    function = spec.function
    if not callable(function):
        raise DefinitionError(f"{where}: {spec.kind.value}= is not a function: give one that takes the event")
    try:
        count = len(inspect.signature(function).parameters)
    except ValueError:  # a builtin without a signature, such as operator.attrgetter's
        count = 1
    if count == 1:
        return lambda recorded: function(recorded.event)
    if count == 2:
        return lambda recorded: function(recorded.event, recorded)
    raise DefinitionError(
        f"{where}: the function {spec.kind.value}= takes {count} arguments: it may take the event, and RecordedEvent"
    )


def _id_converter(twin: Twin[Any], where: str) -> Callable[[str], Any]:
    first = twin.key_columns[0]
    type_ = python_type_of(first.column)
    converter = ID_CONVERTERS.get(type_) if type_ is not None else None
    if converter is None:
        raise DefinitionError(
            f"{where}: the key is the aggregate's id, and {twin.name}.{first.attribute} cannot hold it one to one: make it "
            "Mapped[str] (or int, or UUID), or name the key with key="
        )
    return converter


def _check_shape(spec: KeySpec, twin: Twin[Any], where: str) -> None:
    count = len(twin.key_columns)
    names = ", ".join(column.attribute for column in twin.key_columns)
    if spec.kind is KeyKind.ID and count > 1:
        raise DefinitionError(
            f"{where}: the primary key of {twin.name} is ({names}), and an aggregate's id fills only the first: say where the rest comes "
            "from with @projects(item=lambda event: …)"
        )
    if spec.kind in (KeyKind.ITEM, KeyKind.ITEMS) and count == 1:
        raise DefinitionError(
            f"{where}: {spec.kind.value}= names rows within an aggregate, and the primary key of {twin.name} is {names} alone: add a "
            "second primary key column for the item, or use key= if the rows are not the aggregate's own"
        )
