"""What becomes of each written type under today's class: what `resolution.py` finds, and codecs follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from eventsource.domain.shapes import EnumShape, FieldShape, ModelShape
from eventsource.errors import DecodeError


@dataclass(frozen=True, slots=True)
class ScalarPlan:
    """A primitive `written`, as it is or by way of a function."""

    written: str
    convert: Callable[[Any], Any] | None


@dataclass(frozen=True, slots=True)
class DecimalPlan:
    """A Decimal of the writer's precision and scale: a value keeps the digits that it had."""

    precision: int
    scale: int


@dataclass(frozen=True, slots=True)
class EnumPlan:
    """A member by its symbol."""

    symbols: tuple[str, ...]
    members: Members


@dataclass(frozen=True, slots=True)
class ArrayPlan:
    """Items into a list, tuple, set or frozenset."""

    item: Plan
    container: type


@dataclass(frozen=True, slots=True)
class MapPlan:
    """A dict whose keys are strings."""

    value: Plan


@dataclass(frozen=True, slots=True)
class EntriesPlan:
    """A dict that was written as an array of records; `key_first` tells their order."""

    key: Plan
    value: Plan
    key_first: bool


@dataclass(frozen=True, slots=True)
class TuplePlan:
    """A tuple that was written as a record of `_0`, `_1`, …"""

    items: tuple[Plan, ...]


@dataclass(frozen=True, slots=True)
class UnionPlan:
    """What becomes of each branch of the written union."""

    branches: tuple[tuple[Any, Plan], ...]


@dataclass(frozen=True, slots=True)
class RefusalPlan:
    """What cannot become anything that is declared today: it fails only when a message has it."""

    text: str


@dataclass(frozen=True, slots=True)
class FieldPlan:
    """A field of today: the written one that it is read from, or neither `source` nor `plan` where its default is taken."""

    field: FieldShape
    source: str | None
    plan: Plan | None


@dataclass(eq=False, slots=True)
class RecordPlan:
    """A record into an instance of a model. One per model and record, compared by identity: both may refer back to themselves.

    `fields`: today's, in their order. `refusal`: why it cannot be, after all.
    """

    shape: ModelShape
    written: dict[str, Any]
    fields: tuple[FieldPlan, ...] = ()
    refusal: str | None = None

    def __repr__(self) -> str:  # the fields may lead back here
        return f"RecordPlan({self.shape.name})"


Plan = (
    ScalarPlan
    | DecimalPlan
    | EnumPlan
    | ArrayPlan
    | MapPlan
    | EntriesPlan
    | TuplePlan
    | UnionPlan
    | RecordPlan
    | RefusalPlan
)


class Members(dict[str, Enum]):
    """An enum's members by name and alias: a renamed member may keep its old name as a second one."""

    def __init__(self, shape: EnumShape) -> None:
        super().__init__(shape.enum.__members__)
        self._label = shape.label

    def __missing__(self, symbol: str) -> Enum:
        raise DecodeError(
            f"{self._label} has no member {symbol} today: keep it, or give its successor the old name as a second one "
            "with the same value"
        )
