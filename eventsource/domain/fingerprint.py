"""Fingerprints of the code that turns events into state, by which a kept state is told from one that would differ today.

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

from eventsource.domain.annotations import name_of

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
    """16 bytes that change with the code that turns events into states of `aggregate`, and are the same in every process.

    It covers the functions and plain values of the class and of the bases that a user wrote, which events each handler takes,
    `state_revision`, and the version of Python (3.11, say), whose instructions differ. It leaves out what decides on commands, and
    the fields: those are in the schema that a state is written with.
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
