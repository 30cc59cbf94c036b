"""From the shapes of a message class to its Avro schema."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from eventsource.domain.shapes import (
    ArrayShape,
    DecimalShape,
    DictShape,
    EnumShape,
    FieldShape,
    Kind,
    ModelShape,
    Scalar,
    Shape,
    TupleShape,
    UnionShape,
)
from eventsource.errors import DefinitionError, NoExactForm

# Logical types that the specification does not know: readers without them see the plain type, as it demands.
ISO_DATETIME: Final = "iso-datetime"
ISO_TIME: Final = "iso-time"
DURATION_MICROS: Final = "duration-micros"
DECIMAL_TEXT: Final = "decimal-text"
ZONED_DATETIME: Final = "zoned-datetime"

SCALARS: Final[dict[Kind, Any]] = {
    Kind.NULL: "null",
    Kind.BOOLEAN: "boolean",
    Kind.INTEGER: "long",
    Kind.FLOAT: "double",
    Kind.STRING: "string",
    Kind.BYTES: "bytes",
    Kind.DATE: {"type": "int", "logicalType": "date"},
    Kind.TIME: {"type": "string", "logicalType": ISO_TIME},
    Kind.DATETIME: {"type": "string", "logicalType": ISO_DATETIME},
    Kind.NAIVE_DATETIME: {"type": "long", "logicalType": "local-timestamp-micros"},
    Kind.DURATION: {"type": "long", "logicalType": DURATION_MICROS},
    Kind.UUID: {"type": "string", "logicalType": "uuid"},
    Kind.DECIMAL_TEXT: {"type": "string", "logicalType": DECIMAL_TEXT},
    Kind.ZONED_DATETIME: {"type": "string", "logicalType": ZONED_DATETIME},
}

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Lowered:
    """A message's Avro schema, and the records in it by model."""

    schema: dict[str, Any]
    records: dict[ModelShape, dict[str, Any]]


def lower(shape: ModelShape, record_name: str, aliases: Iterable[str] = ()) -> Lowered:
    """The Avro schema of a message: logical types and aliases included, default values not.

    A hyphen in `record_name` or an alias is written as an underscore; a dot separates namespace and name. Items of a fixed
    tuple are the fields `_0`, `_1`, …; a dict whose keys are not strings is an array of `key` and `value`.

    Raises:
        DefinitionError: a name that Avro does not allow.
        NoExactForm: two things in the message would bear one name.
    """
    lowering = _Lowering(shape, record_name, aliases)
    return Lowered(lowering.schema, lowering.records)


def avro_record_name(record_name: str) -> str:
    """The name of a message's record: `money-deposited` becomes `money_deposited`. Raises `DefinitionError`."""
    name = record_name.replace("-", "_")
    if not all(_NAME.fullmatch(part) for part in name.split(".")):
        raise DefinitionError(
            f"record name {record_name!r} is not valid in Avro: use ASCII letters, digits, hyphens and underscores, "
            "beginning with a letter"
        )
    return name


class _Lowering:
    def __init__(self, shape: ModelShape, record_name: str, aliases: Iterable[str]) -> None:
        self._full_name = avro_record_name(record_name)
        self._root = shape
        self.records: dict[ModelShape, dict[str, Any]] = {}
        self._taken: dict[str, object] = {}
        self._enums: set[type] = set()
        self._namespace, _, name = self._full_name.rpartition(".")
        self.schema = self._record(shape, name)
        self.schema["name"] = self._full_name
        if names := [avro_record_name(alias) for alias in aliases]:
            self.schema["aliases"] = names

    def _record(self, shape: ModelShape, name: str) -> dict[str, Any]:
        self._take(name, shape)
        record: dict[str, Any] = {"type": "record", "name": name}
        self.records[shape] = record
        if shape.aliases:
            record["aliases"] = list(shape.aliases)
        record["fields"] = [self._field(field, name) for field in shape.fields]
        return record

    def _field(self, field: FieldShape, owner: str) -> dict[str, Any]:
        lowered: dict[str, Any] = {"name": field.name, "type": self._lower(field.shape, f"{owner}_{field.name}")}
        if field.aliases:
            lowered["aliases"] = list(field.aliases)
        return lowered

    def _lower(self, shape: Shape, path: str) -> Any:
        """`path`: a name for what has none of its own."""
        match shape:
            case Scalar(kind=kind):
                return SCALARS[kind]
            case DecimalShape(precision=precision, scale=scale):
                return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}
            case UnionShape(members=members):
                return [self._lower(member, path) for member in members]
            case ArrayShape(item=item):
                return {"type": "array", "items": self._lower(item, f"{path}_item")}
            case DictShape(value=value) if shape.is_map:
                return {"type": "map", "values": self._lower(value, f"{path}_value")}
            case _:
                return self._named(shape, path)

    def _named(self, shape: DictShape | EnumShape | TupleShape | ModelShape, path: str) -> Any:
        match shape:
            case DictShape(key=key, value=value):
                entry = self._anonymous(path + "_entry", [("key", key), ("value", value)])
                return {"type": "array", "items": entry}
            case TupleShape(items=items):
                return self._anonymous(path, [(f"_{index}", item) for index, item in enumerate(items)])
            case EnumShape(enum=enum):
                if enum in self._enums:
                    return self._reference(shape.name)
                self._take(shape.name, enum)
                self._enums.add(enum)
                aliases = {"aliases": list(shape.aliases)} if shape.aliases else {}
                return {"type": "enum", "name": shape.name, **aliases, "symbols": [member.name for member in enum]}
            case ModelShape():
                if shape is self._root:
                    return self._full_name
                return self._reference(shape.name) if shape in self.records else self._record(shape, shape.name)

    def _anonymous(self, name: str, fields: list[tuple[str, Shape]]) -> dict[str, Any]:
        self._take(name, object())
        lowered = [{"name": field, "type": self._lower(shape, f"{name}_{field}")} for field, shape in fields]
        return {"type": "record", "name": name, "fields": lowered}

    def _reference(self, name: str) -> str:
        return f"{self._namespace}.{name}" if self._namespace else name

    def _take(self, name: str, owner: object) -> None:
        if self._taken.setdefault(name, owner) is not owner:
            raise NoExactForm(
                f"{self._root.model.__qualname__}: two things in it would be named {name} on the wire: "
                "give one of them another name with @stored_as, or rename a field"
            )
