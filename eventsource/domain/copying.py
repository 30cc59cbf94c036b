"""Copies of an aggregate that can be changed without changing the original."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import types
import uuid
from collections.abc import Callable, Iterable
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Address
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, Final, TypeVar, cast
from zoneinfo import ZoneInfo

from pydantic import BaseModel

A = TypeVar("A")

ATOMS = (
    *(type(None), bool, int, float, complex, str, bytes, Decimal, Fraction, uuid.UUID),
    *(datetime.datetime, datetime.date, datetime.time, datetime.timedelta, datetime.timezone, ZoneInfo),
    *(IPv4Address, IPv6Address, PurePosixPath, PureWindowsPath, range, type(Ellipsis)),
    *(type, types.FunctionType, types.BuiltinFunctionType),
)

_DEEPEST: Final = 200
"""How many levels deep a state may nest: compiled, nothing else keeps a deeper one from ending the process."""


def copier(cls: type[A]) -> Callable[[A], A]:
    """A function that copies instances of `cls`: what cannot change is shared, everything else is copied deeply.

    Values are judged by what they are, not by their field's annotation, so that an annotation that says less (or
    something else) than the truth cannot make two aggregates share a list.
    """
    if not is_plain(cls):
        return copy.deepcopy
    # Exact types only: a subclass of str may carry a __dict__. Enums are learned as they are met.
    atoms: set[type] = set(ATOMS)
    make = cast("Callable[[type[A]], A]", object.__new__)

    def copied(state: A) -> A:
        twin = make(cls)
        fields = twin.__dict__
        fields.update(state.__dict__)
        memo: dict[int, Any] | None = None
        for name, value in fields.items():
            if value.__class__ not in atoms:
                if memo is None:
                    memo = {id(state): twin}
                fields[name] = _duplicate(value, atoms, memo, 1)
        return twin

    return copied


def is_plain(cls: type) -> bool:
    """Whether all that an instance holds is in its `__dict__`, and nobody asked for another way to copy it."""
    return not any(
        "__deepcopy__" in vars(base)
        or "__getstate__" in vars(base)
        or "__reduce_ex__" in vars(base)
        or vars(base).get("__slots__")
        for base in cls.__mro__
        if base is not object
    )


def _duplicate(value: Any, atoms: set[type], memo: dict[int, Any], depth: int) -> Any:
    """`value` itself if nothing in it can change, else a deep copy. `memo` is that of `copy.deepcopy`: id → copy.

    Raises `RecursionError` for one that nests too deep.
    """
    kind = value.__class__
    if kind in atoms or is_frozen(value, atoms, depth):
        return value
    known = memo.get(id(value))
    if known is not None:
        return known
    below = _below(depth)
    if kind is list:
        items: list[Any] = []
        memo[id(value)] = items
        items.extend(_duplicate(item, atoms, memo, below) for item in value)
        return items
    if kind is dict:
        entries: dict[Any, Any] = {}
        memo[id(value)] = entries
        for key, item in value.items():
            entries[_duplicate(key, atoms, memo, below)] = _duplicate(item, atoms, memo, below)
        return entries
    if kind is set and all(is_frozen(item, atoms, below) for item in value):
        memo[id(value)] = members = set(value)
        return members
    return copy.deepcopy(value, memo)


def is_frozen(value: Any, atoms: set[type], depth: int) -> bool:
    """Whether `value` can never change, all that it holds included."""
    kind = value.__class__
    if kind in atoms:
        return True
    if isinstance(value, Enum):
        atoms.add(kind)
        return True
    held = _held(value)
    if held is None:
        return False
    below = _below(depth)
    return all(is_frozen(item, atoms, below) for item in held)


def _below(depth: int) -> int:
    if depth >= _DEEPEST:
        raise RecursionError(
            f"a state nests more than {_DEEPEST} levels deep: keep what is nested flat, by keys of its own"
        )
    return depth + 1


def _held(value: Any) -> Iterable[Any] | None:
    """What an unchangeable value holds; None for one that can be changed, or that nothing is known of."""
    kind = value.__class__
    if kind is frozenset:
        return cast("frozenset[Any]", value)
    if isinstance(value, tuple):  # a named one has no __dict__ either, unless it was subclassed
        return None if hasattr(value, "__dict__") else value
    if isinstance(value, BaseModel):
        changeable = not kind.model_config.get("frozen") or value.__pydantic_private__ or value.__pydantic_extra__
        return None if changeable else value.__dict__.values()
    if dataclasses.is_dataclass(value) and kind.__dataclass_params__.frozen:
        names = {field.name for field in dataclasses.fields(value)}
        return None if getattr(value, "__dict__", {}).keys() - names else [getattr(value, name, None) for name in names]
    return None
