"""What differs between two values, told so that a person sees it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from pydantic import BaseModel

from eventsource.domain.annotations import name_of


def same(one: Any, other: Any) -> bool:
    """Whether two values are exactly the same, types and a Decimal's digits included; objects without `==` by what they hold."""
    if one is other or type(one) is not type(other):
        return one is other
    answer: bool
    match one:
        case Decimal():
            answer = one.as_tuple() == other.as_tuple()
        case float():
            answer = one == other or (math.isnan(one) and math.isnan(other))
        case list() | tuple():
            answer = len(one) == len(other) and all(map(same, one, other))
        case Mapping():
            answer = len(one) == len(other) and all(
                key in other and same(value, other[key]) for key, value in one.items()
            )
        case BaseModel():
            answer = same(vars(one), vars(other))
        case _:
            has_equality = getattr(type(one), "__eq__", None) is not object.__eq__
            answer = bool(one == other) if has_equality else same(_held(one), _held(other))
    return answer


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """A line for each entry that differs, such as `balance: Decimal('1.00') → Decimal('2.00')`."""
    lines: list[str] = []
    for name in dict.fromkeys((*before, *after)):
        old, new = before.get(name, NOTHING), after.get(name, NOTHING)
        if not same(old, new):
            lines.append(f"{name}: {old!r} → {new!r}")
    return lines


def diff(expected: Iterable[object], actual: Iterable[object]) -> list[str]:
    """Both sequences line by line: `-` is what was expected alone, `+` what came alone."""
    lines = difflib.ndiff(
        [line for item in expected for line in shown(item, columns=0)],
        [line for item in actual for line in shown(item, columns=0)],
    )
    return [line.rstrip() for line in lines if not line.startswith("?")]


def shown(value: object, columns: int = 100) -> list[str]:
    """A value as one line, or a message of several fields that is wider than `columns` with each field on its own."""
    line = repr(value)
    fields = type(value).model_fields if isinstance(value, BaseModel) else {}
    if len(line) <= columns or len(fields) <= 1:
        return [line]
    return [f"{name_of(type(value))}(", *(f"  {name}={getattr(value, name)!r}" for name in fields), ")"]


def _held(value: object) -> dict[str, Any]:
    slots = (vars(base).get("__slots__", ()) for base in type(value).__mro__)
    names = (name for slot in slots for name in ((slot,) if isinstance(slot, str) else slot))
    return {**{name: getattr(value, name, NOTHING) for name in names}, **getattr(value, "__dict__", {})}


class _Nothing:
    def __repr__(self) -> str:
        return "(nothing)"


NOTHING = _Nothing()
