"""What an instance is once it was written and read back, found without reading where that is certain.

A value may be written and come back as another that is equal, or nearly so: a datetime at a `ZoneInfo` comes back at a fixed offset,
`Decimal("5")` as `Decimal("5.00")`, an instance of a subclass as the class itself, a set in another order. Which fields may hold such
a value is decided once for a class; only those are looked at for each instance.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID, SafeUUID

from eventsource.domain.shapes import (
    ArrayShape,
    DecimalShape,
    DictShape,
    EnumShape,
    Kind,
    ModelShape,
    Scalar,
    Shape,
    TupleShape,
    UnionShape,
)
from eventsource.schemas import primitives
from eventsource.schemas.avro_schema import AvroSchema
from eventsource.schemas.loading import construction
from eventsource.schemas.resolution import resolve
from eventsource.schemas.source import Lines, Source, Unsupported

LoggedForm = Callable[[Any], Any]
"""From an instance that could be written to what reading gives: itself, a copy, or None where only reading it tells."""

# Whatever of these could be written comes back identical: the writer takes nothing but the exact type.
_CERTAIN: Final = frozenset({Kind.NULL, Kind.BOOLEAN, Kind.INTEGER, Kind.STRING, Kind.BYTES})
# What a value must be to come back identical; `{v}` is the value.
_CONDITIONS: Final[dict[Kind, str]] = {
    Kind.FLOAT: "type({v}) is float and {v} == {v}",  # every NaN that is read is another object
    Kind.DATE: "type({v}) is date",
    Kind.TIME: "type({v}) is time and ({v}.tzinfo is UTC or {v}.tzinfo is None) and not {v}.fold",
    Kind.DATETIME: "type({v}) is datetime and ({v}.tzinfo is UTC or {v}.tzinfo is None) and not {v}.fold",
    Kind.NAIVE_DATETIME: "type({v}) is datetime",
    Kind.DURATION: "type({v}) is timedelta",
    Kind.UUID: "type({v}) is UUID and {v}.is_safe is unknown",
}
_NAMES: Final[dict[str, Any]] = {
    "date": date,
    "time": time,
    "datetime": datetime,
    "timedelta": timedelta,
    "UUID": UUID,
    "UTC": UTC,
    "unknown": SafeUUID.unknown,
    "Decimal": Decimal,
}


def logged_form(schema: AvroSchema) -> LoggedForm | None:
    """The function for instances of a message class, or None if all of them must be read back to know."""
    try:
        return _Compiler(schema).compile()
    except Unsupported:
        return None


class _Compiler:
    def __init__(self, schema: AvroSchema) -> None:
        self._shape = schema.shape
        self._plan = resolve(schema.shape, schema.text.schema(), schema.names)
        self._source = Source(f"logged form of {schema.text.name}")
        self._variables = 0
        self._within: list[ModelShape] = []
        for name, value in _NAMES.items():
            self._source.rebind(name, value)

    def compile(self) -> LoggedForm:
        copied: dict[str, str] = {}
        for field in self._shape.fields:
            code = _copied(field.shape, f"fields[{field.name!r}]")
            if code is not None:
                copied[field.name] = code
        name = self._source.reserve("logged")
        lines = Lines()
        with lines.block(f"def {name}(message):"):
            self._check_fields(self._shape, "message", lines, skip=frozenset(copied))
            is_whole = f"message.__pydantic_fields_set__ == {self._all_fields(self._shape)}"
            if not copied:
                with lines.block(f"if {is_whole}:"):
                    lines.add("return message")
            lines.add("fields = message.__dict__.copy()")
            for field_name, code in copied.items():
                lines.add(f"fields[{field_name!r}] = {code}")
            for line in construction(self._source, self._plan, "fields"):
                lines.add(line)
            lines.add("return message")
        self._source.add(lines.written)
        made: LoggedForm = self._source.compile()[name]
        return made

    def _check_fields(self, shape: ModelShape, v: str, lines: Lines, skip: frozenset[str] = frozenset()) -> None:
        if not _is_sealed(shape.model):
            raise Unsupported("a model whose instances can be changed, or remember what is no field")
        if shape in self._within:
            raise Unsupported("a model that refers to itself")
        self._within.append(shape)
        fields = self._variable()
        lines.add(f"{fields} = {v}.__dict__")
        self._require(lines, f"len({fields}) == {len(shape.fields)}")
        for field in shape.fields:
            if field.name not in skip:
                self._check(field.shape, f"{fields}[{field.name!r}]", lines)
        self._within.pop()

    def _check(self, shape: Shape, code: str, lines: Lines) -> None:
        """Adds lines that return None unless the value comes back identical."""
        if _is_certain(shape):
            return
        v = self._variable()
        match shape:
            case ModelShape():
                lines.add(f"{v} = {code}")
                self._check_fields(shape, v, lines)
                self._require(lines, f"{v}.__pydantic_fields_set__ == {self._all_fields(shape)}")
            case UnionShape(members=members) if len(members) == 2 and Scalar(Kind.NULL) in members:
                (member,) = (member for member in members if member != Scalar(Kind.NULL))
                lines.add(f"{v} = {code}")
                with lines.block(f"if {v} is not None:"):
                    self._check(member, v, lines)
            case TupleShape(items=items):
                lines.add(f"{v} = {code}")
                for index, item in enumerate(items):
                    self._check(item, f"{v}[{index}]", lines)
            case Scalar(kind=kind) if kind in _CONDITIONS:
                lines.add(f"{v} = {code}")
                self._require(lines, _CONDITIONS[kind].format(v=v))
            case DecimalShape(scale=scale):
                lines.add(f"{v} = {code}")
                unit = self._source.bind(primitives.unit(scale), f"UNIT_{scale}")
                # As many digits behind the point as are written, and no negative zero, whose sign is not.
                self._require(
                    lines, f"type({v}) is Decimal and {v}.same_quantum({unit}) and ({v} or not {v}.is_signed())"
                )
            case _:
                raise Unsupported("a value that is read in less time than it is looked at")

    def _all_fields(self, shape: ModelShape) -> str:
        return self._source.bind({field.name for field in shape.fields}, f"FIELDS_OF_{shape.name}")

    def _require(self, lines: Lines, condition: str) -> None:
        with lines.block(f"if not ({condition}):"):
            lines.add("return None")

    def _variable(self) -> str:
        self._variables += 1
        return f"v{self._variables}"


def _is_certain(shape: Shape) -> bool:
    """Whether whatever could be written comes back identical, and cannot be changed."""
    match shape:
        case Scalar(kind=kind):
            return kind in _CERTAIN
        case EnumShape():
            return True
        case ArrayShape(item=item, container=container):
            return container is tuple and _is_certain(item)
        case TupleShape(items=items) | UnionShape(members=items):
            return all(map(_is_certain, items))
        case _:
            return False


def _copied(shape: Shape, code: str) -> str | None:
    """Code for a copy of a list or dict whose items come back identical; None for anything else."""
    match shape:
        case ArrayShape(item=item, container=container) if container is list and _is_certain(item):
            return f"{code}.copy()"
        case DictShape(key=key, value=value) if _is_certain(key) and _is_certain(value):
            return f"{code}.copy()"
        case UnionShape(members=members) if len(members) == 2 and Scalar(Kind.NULL) in members:
            (member,) = (member for member in members if member != Scalar(Kind.NULL))
            copied = _copied(member, code)
            return None if copied is None else f"{copied} if {code} is not None else None"
        case _:
            return None


def _is_sealed(model: type[Any]) -> bool:
    """Whether nobody can set what its instances hold. (Private and extra attributes are refused when a message is defined.)"""
    return bool(model.model_config.get("frozen")) and not any(
        isinstance(attribute, functools.cached_property) for base in model.__mro__ for attribute in vars(base).values()
    )
