"""The tree that is found in the annotations of a message or a state: what each field may hold, and nothing of how.

Every shape says by which `branch` of an Avro union and by which `python_type` its values are told from another's, and
by which `label` it is called in an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pydantic
from pydantic.fields import FieldInfo

from eventsource.domain.nested_names import stored_aliases, stored_name


class Kind(Enum):
    """The scalars that travel exactly: the label, the Python type and the branch of each.

    Avro's int and long are one branch here: a reader sees a Python int either way.
    """

    NULL = ("None", type(None), "null")
    BOOLEAN = ("bool", bool, "boolean")
    INTEGER = ("int", int, "integer")
    FLOAT = ("float", float, "double")
    STRING = ("str", str, "string")
    BYTES = ("bytes", bytes, "bytes")
    DATE = ("date", date, "integer")
    TIME = ("time", time, "string")
    DATETIME = ("datetime", datetime, "string")
    NAIVE_DATETIME = ("NaiveDatetime", datetime, "integer")
    DURATION = ("timedelta", timedelta, "integer")
    UUID = ("UUID", UUID, "string")
    DECIMAL_TEXT = ("Decimal", Decimal, "string", True)
    ZONED_DATETIME = ("datetime", datetime, "string", True)

    def __init__(self, label: str, python_type: type, branch: str, state_only: bool = False) -> None:
        self.label = label
        self.python_type = python_type
        self.branch = branch
        self.state_only = state_only
        """Whether only an aggregate's state has it: how a number was written and the name of a zone are kept there."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """A value of one built-in type."""

    kind: Kind

    @property
    def branch(self) -> str:
        return self.kind.branch

    @property
    def python_type(self) -> type:
        return self.kind.python_type

    @property
    def label(self) -> str:
        return self.kind.label


@dataclass(frozen=True, slots=True)
class DecimalShape:
    """A Decimal of at most `precision` digits, `scale` of them behind the point."""

    precision: int
    scale: int

    branch = "bytes"
    python_type = Decimal
    label = "Decimal"


@dataclass(frozen=True, slots=True)
class EnumShape:
    """A member of an Enum, by its name."""

    enum: type[Enum]

    @property
    def name(self) -> str:
        return avro_name(self.enum)

    @property
    def aliases(self) -> tuple[str, ...]:
        """Names that the class had before."""
        return stored_aliases(self.enum)

    @property
    def branch(self) -> str:
        return f"enum {self.name}"

    @property
    def python_type(self) -> type:
        return self.enum

    @property
    def label(self) -> str:
        return self.enum.__name__


@dataclass(frozen=True, slots=True)
class ArrayShape:
    """Any number of items of one shape, held in a list, tuple, set or frozenset."""

    item: Shape
    container: type

    branch = "array"

    @property
    def python_type(self) -> type:
        return self.container

    @property
    def label(self) -> str:
        return self.container.__name__


@dataclass(frozen=True, slots=True)
class TupleShape:
    """A tuple of fixed length."""

    items: tuple[Shape, ...]

    branch = "record of a tuple"
    python_type = tuple
    label = "tuple"


@dataclass(frozen=True, slots=True)
class DictShape:
    """A dict: a map where its keys are strings, else an array of entries."""

    key: Shape
    value: Shape

    python_type = dict
    label = "dict"

    @property
    def is_map(self) -> bool:
        return self.key == Scalar(Kind.STRING)

    @property
    def branch(self) -> str:
        return "map" if self.is_map else "array"


@dataclass(frozen=True, slots=True)
class UnionShape:
    """One of several shapes, no two of which share a branch or a Python type. Never holds a union."""

    members: tuple[Shape, ...]

    branch = "union"
    python_type = object

    @property
    def label(self) -> str:
        return " | ".join(member.label for member in self.members)


@dataclass(frozen=True, slots=True)
class FieldShape:
    """A field of a model. `aliases`: names that it had before."""

    name: str
    shape: Shape
    info: FieldInfo
    aliases: tuple[str, ...]


@dataclass(eq=False, slots=True)
class ModelShape:
    """A pydantic model or, in an aggregate's state, a dataclass. One per class and tree, compared by identity: recursive
    models refer back to it.

    `aliases`: names that the class had before.
    """

    model: type[Any]
    aliases: tuple[str, ...]
    fields: tuple[FieldShape, ...] = ()

    @property
    def name(self) -> str:
        return avro_name(self.model)

    @property
    def is_dataclass(self) -> bool:
        return not issubclass(self.model, pydantic.BaseModel)

    @property
    def branch(self) -> str:
        return f"record {self.name}"

    @property
    def python_type(self) -> type:
        return self.model

    @property
    def label(self) -> str:
        return self.model.__name__

    def __repr__(self) -> str:  # the fields may lead back here
        return f"ModelShape({self.model.__name__})"


Shape = Scalar | DecimalShape | EnumShape | ArrayShape | TupleShape | DictShape | UnionShape | ModelShape


def avro_name(cls: type[Any]) -> str:
    """The name of a nested class on the wire: as `stored_as` gave it, else its own, with `Page[Item]` written `Page_Item`."""
    return stored_name(cls) or re.sub(r"[^A-Za-z0-9_]+", "_", cls.__name__).rstrip("_")


def takes_no_byte(shape: Shape, seen: set[type]) -> bool:
    """Whether a value is written as nothing. `seen`: models that were looked at, of which none took a byte."""
    match shape:
        case Scalar(kind=kind):
            return kind is Kind.NULL
        case TupleShape(items=items):
            return all(takes_no_byte(item, seen) for item in items)
        case ModelShape(model=model, fields=fields):
            if model in seen:
                return True
            seen.add(model)
            return all(takes_no_byte(field.shape, seen) for field in fields)
        case _:
            return False
