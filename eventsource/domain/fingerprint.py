"""Fingerprints of what turns events into state, by which a kept state is told from one that would differ today.

A function is taken for its instructions, constants, names, defaults and what it closes over; not for its docstring, its
lines or where it lives. What it calls outside of its class is beyond what can be seen: `state_revision` is for that.
"""

from __future__ import annotations

import dataclasses
import dis
import functools
import hashlib
import inspect
import re
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from eventsource.domain.annotations import name_of
from eventsource.domain.exact import model_shape
from eventsource.domain.shapes import (
    ArrayShape,
    DecimalShape,
    DictShape,
    EnumShape,
    ModelShape,
    Scalar,
    Shape,
    TupleShape,
    UnionShape,
)
from eventsource.domain.state_shapes import state_shape
from eventsource.errors import NoExactForm, UnresolvedReference

if TYPE_CHECKING:
    from eventsource.domain.aggregate import Aggregate

_BYTES: Final = 16
_DEFAULT_BYTES: Final = 8
_FRAMEWORK: Final = frozenset({"eventsource.domain.aggregate", "builtins", "typing", "typing_extensions", "abc"})
# How dataclasses call what they write themselves: fields are the business of whoever keeps states.
_GENERATED: Final = ("__create_fn__", "_recursive_repr")
_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")
_LINE_KEEPING: Final = frozenset({"EXTENDED_ARG", "NOP"})
# From Python 3.14 on a code object says whether its first constant is a docstring.
_HAS_DOCSTRING: Final = 0x4000000


def evolve_fingerprint(aggregate: type[Aggregate[Any]]) -> bytes:
    """16 bytes that change with what turns events into states of `aggregate`, and are the same in every process.

    It covers the functions and plain values of the class and of the bases that a user wrote; which events each handler takes,
    and what an event is read as: its names, fields, their types, defaults and names of before, models and enums in it included;
    the defaults of models in the state; `state_revision`, and the version of Python (3.11, say), whose instructions differ. It
    leaves out what decides on commands, and the aggregate's own fields: those are in the schema that a state is written with.
    """
    definition = aggregate.__definition__
    deciding = {handler.function for handler in definition.handlers if handler.decides}
    parts: list[object] = [
        sys.implementation.name,
        sys.version_info[:2],
        definition.state_revision,
        [
            (handler.method, sorted(message.message_name for message in handler.messages))
            for handler in definition.handlers
            if not handler.decides
        ],
        [
            (event.message_name, sorted(event.message_aliases), _model(model_shape(event), set()))
            for event in sorted(set(definition.events.values()), key=lambda event: event.message_name)
        ],
        _held_defaults(aggregate),
    ]
    for base in aggregate.__mro__:
        if base.__module__ not in _FRAMEWORK:
            own = vars(base).get("__own_handlers__", {})
            skipped = deciding | {handler.function for handler in own.values() if handler.decides}
            parts.append(_class_parts(base, skipped))
    return _digest(parts, _BYTES)


def default_fingerprints(cls: type[Any]) -> dict[str, str]:
    """For every field of a dataclass that has a default: 16 hexadecimal digits that change with it."""
    found: dict[str, str] = {}
    for field in dataclasses.fields(cls):
        if field.default is not dataclasses.MISSING:
            found[field.name] = _digest(["value", _plain(field.default)], _DEFAULT_BYTES).hex()
        elif field.default_factory is not dataclasses.MISSING:
            found[field.name] = _digest(["factory", _plain(field.default_factory)], _DEFAULT_BYTES).hex()
    return found


def _digest(parts: object, size: int) -> bytes:
    return hashlib.blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=size).digest()


# --- events, and models in states --------------------------------------------------------------------------------


def _model(shape: ModelShape, seen: set[type]) -> object:
    if shape.model in seen:
        return shape.name
    seen.add(shape.model)
    return [
        (field.name, sorted(field.aliases), _default(field.info), _shape(field.shape, seen)) for field in shape.fields
    ]


def _shape(shape: Shape, seen: set[type]) -> object:
    match shape:
        case Scalar(kind=kind):
            return kind.name
        case DecimalShape(precision=precision, scale=scale):
            return ("decimal", precision, scale)
        case EnumShape(name=name, enum=enum):
            members = enum.__members__.items()
            symbols = sorted((symbol, member.name, repr(_plain(member.value))) for symbol, member in members)
            return (name, symbols, sorted(shape.aliases)) if shape.aliases else (name, symbols)
        case ArrayShape(item=item, container=container):
            return (container.__name__, _shape(item, seen))
        case TupleShape(items=items):
            return ("tuple of", [_shape(item, seen) for item in items])
        case DictShape(key=key, value=value):
            return ("dict", _shape(key, seen), _shape(value, seen))
        case UnionShape(members=members):
            return ("union", [_shape(member, seen) for member in members])
        case ModelShape(name=name, aliases=aliases):
            return (name, sorted(aliases), _model(shape, seen))


def _default(info: FieldInfo) -> object:
    if info.is_required():
        return None
    if info.default_factory is not None:
        return ("factory", _plain(info.default_factory))
    return ("value", _plain(info.default))


def _held_defaults(aggregate: type[Aggregate[Any]]) -> object:
    """The defaults of the models and dataclasses that a state holds. Those of the aggregate are in its states' schema."""
    try:
        root = state_shape(aggregate)
    except (NoExactForm, UnresolvedReference):
        return None  # states that are kept nowhere
    found: dict[str, object] = {}
    left: list[Shape] = [field.shape for field in root.fields]
    seen: set[type] = set()
    while left:
        shape = left.pop()
        if not isinstance(shape, ModelShape):
            left += _inner(shape)
        elif shape.model not in seen:
            seen.add(shape.model)
            found[shape.name] = [
                (field.name, _default(field.info)) for field in shape.fields if not field.info.is_required()
            ]
            left += [field.shape for field in shape.fields]
    return sorted((name, repr(defaults)) for name, defaults in found.items() if defaults)


def _inner(shape: Shape) -> tuple[Shape, ...]:
    match shape:
        case ArrayShape(item=item):
            return (item,)
        case TupleShape(items=items) | UnionShape(members=items):
            return items
        case DictShape(key=key, value=value):
            return (key, value)
        case _:
            return ()


# --- classes -----------------------------------------------------------------------------------------------------


def _class_parts(cls: type, skipped: Iterable[object] = ()) -> list[object]:
    fields = getattr(cls, "__dataclass_fields__", {})
    parts: list[object] = []
    for name, attribute in sorted(vars(cls).items()):
        function = attribute.__func__ if isinstance(attribute, classmethod | staticmethod) else attribute
        if name in fields or any(function is other for other in skipped):
            continue
        if isinstance(function, types.FunctionType):
            if not _is_generated(function):
                parts.append((name, type(attribute).__name__, _plain(function)))
        elif not name.startswith("__"):
            parts.append((name, _plain(attribute, owner=cls)))
    return parts


def _is_generated(function: types.FunctionType) -> bool:
    innermost: types.FunctionType = inspect.unwrap(function)
    return innermost.__code__.co_qualname.startswith(_GENERATED)


# --- values: what stands for them must have the same repr in every process ---------------------------------------------


def _plain(value: Any, *, owner: type | None = None) -> object:
    """Something whose `repr` tells `value` from another one, and is the same in every process."""
    match value:
        case Enum():
            return (_name(type(value)), value.name)
        case None | bool() | int() | float() | complex() | str() | bytes():
            return (type(value).__name__, repr(value))
        case types.ModuleType():
            return value.__name__
        case type():
            inside = owner is not None and value.__qualname__.startswith(f"{owner.__qualname__}.")
            return (_name(value), _class_parts(value)) if inside else _name(value)
        case types.CodeType():
            return _code(value)
        case types.FunctionType():
            return _function(value)
        case types.MethodType():
            return (_plain(value.__func__), _plain(value.__self__))
        case types.BuiltinFunctionType():
            return (value.__module__, value.__qualname__)
        case _:
            return (_name(type(value)), _parts_of(value))


def _parts_of(value: Any) -> object:
    match value:
        case tuple() | list():
            return [_plain(item) for item in value]
        case set() | frozenset():
            return sorted(repr(_plain(item)) for item in value)
        case Mapping():
            return [(_plain(key), _plain(item)) for key, item in value.items()]
        case property():
            return [_plain(function) for function in (value.fget, value.fset, value.fdel)]
        case functools.partial() | functools.partialmethod():
            return [_plain(part) for part in (value.func, value.args, value.keywords)]
        case functools.cached_property():
            return _plain(value.func)
        case functools.singledispatchmethod():
            registry = value.dispatcher.registry.items()
            return sorted((name_of(cls), repr(_plain(function))) for cls, function in registry)
        case BaseModel():
            return _parts_of(value.__dict__)
        case _ if dataclasses.is_dataclass(value):
            return [(field.name, _plain(getattr(value, field.name, None))) for field in dataclasses.fields(value)]
        case _ if isinstance(wrapped := getattr(value, "__wrapped__", None), types.FunctionType):
            return _plain(wrapped)
        case _:
            return _ADDRESS.sub("", repr(value))


def _name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


# --- functions ---------------------------------------------------------------------------------------------------


def _function(function: types.FunctionType) -> object:
    closure = [_closed_over(cell) for cell in function.__closure__ or ()]
    return (
        _code(function.__code__),
        _plain(function.__defaults__),
        sorted((name, repr(_plain(value))) for name, value in (function.__kwdefaults__ or {}).items()),
        closure,
    )


def _closed_over(cell: types.CellType) -> object:
    try:
        value = cell.cell_contents
    except ValueError:  # not filled yet
        return None
    # A function may close over itself, and its class over all of its functions.
    if isinstance(value, types.FunctionType):
        return _code(value.__code__)
    return _name(value) if isinstance(value, type) else _plain(value)


def _code(code: types.CodeType) -> object:
    return (
        code.co_argcount,
        code.co_posonlyargcount,
        code.co_kwonlyargcount,
        code.co_flags & ~_HAS_DOCSTRING,
        code.co_varnames[: code.co_argcount + code.co_kwonlyargcount],
        code.co_exceptiontable,
        list(_instructions(code)),
    )


def _instructions(code: types.CodeType) -> Iterator[tuple[str, object]]:
    """Instructions by what they mean: an index into the constants moves with a docstring, the constant does not."""
    for instruction in dis.get_instructions(code):
        if instruction.opname not in _LINE_KEEPING:
            value = instruction.argval
            yield instruction.opname, _plain(value) if instruction.opcode in dis.hasconst else repr(value)
