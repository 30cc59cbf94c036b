"""What becomes of what was written, under today's class: found once for each pair of schemas, and not for each message.

Whoever reads follows the writer's schema alone, so a renamed nested class, a default that Avro cannot spell, or a default
factory is no obstacle.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

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
from eventsource.errors import DecodeError
from eventsource.schemas import conversions
from eventsource.schemas.avro import DECIMAL_TEXT, DURATION_MICROS, ISO_DATETIME, ISO_TIME, ZONED_DATETIME
from eventsource.schemas.fingerprint import NAMED, PRIMITIVES
from eventsource.schemas.plans import (
    ArrayPlan,
    DecimalPlan,
    EntriesPlan,
    EnumPlan,
    FieldPlan,
    MapPlan,
    Members,
    Plan,
    RecordPlan,
    RefusalPlan,
    ScalarPlan,
    TuplePlan,
    UnionPlan,
)
from eventsource.schemas.schema_check import named_schemas

# What the writer meant by a type: (type, logicalType). An unknown logical type means nothing, as the specification says.
_WRITTEN: Final[dict[tuple[str, str | None], Kind]] = {
    ("null", None): Kind.NULL,
    ("boolean", None): Kind.BOOLEAN,
    ("int", None): Kind.INTEGER,
    ("long", None): Kind.INTEGER,
    ("float", None): Kind.FLOAT,
    ("double", None): Kind.FLOAT,
    ("string", None): Kind.STRING,
    ("bytes", None): Kind.BYTES,
    ("int", "date"): Kind.DATE,
    ("string", ISO_TIME): Kind.TIME,
    ("string", ISO_DATETIME): Kind.DATETIME,
    ("long", "local-timestamp-micros"): Kind.NAIVE_DATETIME,
    ("long", DURATION_MICROS): Kind.DURATION,
    ("string", "uuid"): Kind.UUID,
    ("string", DECIMAL_TEXT): Kind.DECIMAL_TEXT,
    ("string", ZONED_DATETIME): Kind.ZONED_DATETIME,
}
_TEXTS: Final = frozenset({kind for kind in Kind if kind.branch == "string" and kind is not Kind.STRING})
_CONVERTERS: Final[dict[Kind, Callable[[Any], Any]]] = {
    Kind.DATE: conversions.date_from_days,
    Kind.TIME: conversions.time_from_iso,
    Kind.DATETIME: conversions.datetime_from_iso,
    Kind.NAIVE_DATETIME: conversions.naive_datetime_from_micros,
    Kind.DURATION: conversions.duration_from_micros,
    Kind.UUID: conversions.uuid_from_str,
    Kind.DECIMAL_TEXT: conversions.decimal_from_text,
    Kind.ZONED_DATETIME: conversions.zoned_datetime_from_text,
}
DEEP_SCHEMA: Final = "its writer's schema nests too many records: find out who wrote it to the schemas topic"
_MOST_PLANS: Final = 100_000
"""Pairs of a type of today and a written one that are looked at: a union of records leads to their product."""
_RENAMED: Final = ", or name the field's old name in json_schema_extra={'aliases': [...]}"


def resolve(shape: ModelShape, written: dict[str, Any], names: Collection[str]) -> RecordPlan:
    """How instances of `shape` are made of what was written by the schema `written`.

    `names`: the record's own full name, then those that it had before. Raises `DecodeError` if there is no way.
    """
    message_name = next(iter(names))
    if written["name"] not in names:
        raise DecodeError(
            f"{message_name}: the bytes are those of {written['name']}: if that is its old name, give it in aliases"
        )
    try:
        return _Resolver(shape, written).record(shape, written)
    except _Unresolvable as error:
        raise DecodeError(f"{message_name}.{error}") from error
    except RecursionError as error:
        raise DecodeError(f"{message_name}: {DEEP_SCHEMA}") from error


# --- how it is found ---------------------------------------------------------------------------------------------


class _Unresolvable(Exception):  # becomes a DecodeError that names the message
    """What was written cannot become what is declared today."""


class _Resolver:
    def __init__(self, root: ModelShape, written: dict[str, Any]) -> None:
        self._root, self._root_name = root, written["name"]
        self._named = named_schemas(written)
        self._records: dict[tuple[ModelShape, str], RecordPlan] = {}
        self._plans: dict[tuple[int, int], Plan] = {}
        self._renamed: set[tuple[int, int]] = set()
        self._steps = 0

    def record(self, shape: ModelShape, written: dict[str, Any]) -> RecordPlan:
        key = (shape, written["name"])
        plan = self._records.get(key)
        if plan is None:
            plan = self._records[key] = RecordPlan(shape, written)
            try:
                plan.fields = self._fields(shape, written)
            except _Unresolvable as error:
                # Plans that refer to this one may be there already, since models can refer to each other.
                plan.refusal = str(error)
        if plan.refusal is not None:
            raise _Unresolvable(plan.refusal)
        return plan

    def _fields(self, shape: ModelShape, record: dict[str, Any]) -> tuple[FieldPlan, ...]:
        written = {field["name"]: field["type"] for field in record["fields"]}
        found: list[FieldPlan] = []
        for field in shape.fields:
            source = next((name for name in (field.name, *field.aliases) if name in written), None)
            if source is None:
                if field.info.is_required():
                    renamed = "" if shape.is_dataclass else _RENAMED
                    raise _Unresolvable(
                        f"{field.name}: it was written before {shape.label} had this field: give it a default{renamed}"
                    )
                found.append(FieldPlan(field, None, None))
                continue
            try:
                found.append(FieldPlan(field, source, self._plan(field.shape, written[source])))
            except _Unresolvable as error:
                raise _Unresolvable(_under(field.name, error)) from error
        return tuple(found)

    def _plan(self, shape: Shape, written: Any) -> Plan:
        """One plan for each pair of types, however many references lead to it. Both are kept alive by their roots."""
        schema = self._resolve(written)
        key = (id(shape), id(schema))
        if key not in self._plans:
            self._steps += 1
            if self._steps > _MOST_PLANS:
                raise DecodeError(
                    f"{self._root_name}: the schema that it was written with leads to more than {_MOST_PLANS} combinations of types: "
                    "find out who wrote it to the schemas topic"
                )
            self._plans[key] = self._made_plan(shape, schema)
        return self._plans[key]

    def _made_plan(self, shape: Shape, schema: Any) -> Plan:
        branches = [self._resolve(branch) for branch in schema] if isinstance(schema, list) else [schema]
        self._find_renamed_enums(shape, branches)
        if isinstance(schema, list):
            return UnionPlan(
                tuple((branch, self._branch(shape, found)) for branch, found in zip(schema, branches, strict=True))
            )
        return self._one(shape, schema)

    def _find_renamed_enums(self, shape: Shape, branches: list[Any]) -> None:
        """An enum of another name is the one that is declared where only that can be meant: it has all symbols that were written,
        none of its own name was written in its place, and no other is like it.
        """
        members = shape.members if isinstance(shape, UnionShape) else (shape,)
        enums = [member for member in members if isinstance(member, EnumShape)]
        written = [branch for branch in branches if isinstance(branch, dict) and branch["type"] == "enum"]
        found = {id(schema): enum for schema in written for enum in enums if self._same(enum, schema)}
        left = [enum for enum in enums if enum not in found.values()]
        claims = [
            (schema, enum)
            for schema in written
            if id(schema) not in found
            for enum in left
            if enum.enum.__members__.keys() >= set(schema["symbols"])
        ]
        for schema, enum in claims:
            if sum(schema is other or enum is claimed for other, claimed in claims) == 1:
                self._renamed.add((id(enum), id(schema)))

    def _one(self, shape: Shape, schema: Any) -> Plan:
        """The plan for a written type that is no union."""
        if isinstance(shape, UnionShape):
            return self._into_union(shape, schema)
        plan = self._single(shape, schema)
        if plan is None:
            raise _Unresolvable(
                f": it was written as {_spell(schema)} and is {shape.label} today: {_was_renamed(shape, schema)}"
                "keep the old type under the old name, and add a field for the new one"
            )
        return plan

    def _single(self, shape: Shape, schema: Any) -> Plan | None:
        """The plan for two types of which neither is a union, or None if one cannot become the other."""
        kind = schema if isinstance(schema, str) else schema["type"]
        match shape:
            case Scalar(kind=wanted):
                return _scalar(wanted, schema)
            case DecimalShape() if kind == "bytes" and _logical(schema) == "decimal":
                return DecimalPlan(schema["precision"], schema.get("scale", 0))
            case EnumShape() if kind == "enum" and (
                self._same(shape, schema) or (id(shape), id(schema)) in self._renamed
            ):
                return EnumPlan(tuple(schema["symbols"]), Members(shape))
            case ModelShape() if kind == "record" and self._same(shape, schema):
                return self.record(shape, schema)
            case TupleShape(items=items) if kind == "record":
                return self._tuple(items, schema)
            case ArrayShape() | DictShape() if kind in ("array", "map"):
                return self._container(shape, schema)
            case _:
                return None

    def _tuple(self, items: tuple[Shape, ...], schema: Any) -> Plan | None:
        fields = schema["fields"]
        if [field["name"] for field in fields] != [f"_{index}" for index in range(len(items))]:
            return None
        return TuplePlan(tuple(self._plan(item, field["type"]) for item, field in zip(items, fields, strict=True)))

    def _container(self, shape: ArrayShape | DictShape, schema: Any) -> Plan | None:
        match shape:
            case ArrayShape(item=inner, container=container) if schema["type"] == "array":
                return ArrayPlan(self._plan(inner, schema["items"]), container)
            case DictShape(value=value) if shape.is_map and schema["type"] == "map":
                return MapPlan(self._plan(value, schema["values"]))
            case DictShape(key=key, value=value) if not shape.is_map and schema["type"] == "array":
                entry = self._resolve(schema["items"])
                is_record = isinstance(entry, dict) and entry["type"] == "record"
                fields = {field["name"]: field["type"] for field in entry["fields"]} if is_record else {}
                if set(fields) != {"key", "value"}:
                    return None
                return EntriesPlan(
                    self._plan(key, fields["key"]), self._plan(value, fields["value"]), next(iter(fields)) == "key"
                )
            case _:
                return None

    def _into_union(self, shape: UnionShape, schema: Any) -> Plan:
        """One type was written, several are declared: the member that is exactly it, else the first that it can become."""
        for member in sorted(
            shape.members, key=lambda member: (not self._same(member, schema), not _bears_name(member, schema))
        ):
            try:
                plan = self._single(member, schema)
            except _Unresolvable:
                continue
            if plan is not None:
                return plan
        raise _Unresolvable(
            f": it was written as {_spell(schema)} and is {shape.label} today: {_was_renamed(shape, schema)}add the old type to the union"
        )

    def _branch(self, shape: Shape, branch: Any) -> Plan:
        try:
            return self._one(shape, branch)
        except _Unresolvable as error:
            return RefusalPlan(str(error).removeprefix(": "))

    def _same(self, member: Shape, schema: Any) -> bool:
        """Whether `schema` is what `member` itself is written as: by name, or one it had, where it has a name."""
        kind = schema if isinstance(schema, str) else schema["type"]
        match member:
            case Scalar(kind=wanted):
                return _WRITTEN.get((kind, _logical(schema))) is wanted
            case ModelShape() if kind == "record" and schema["name"] == self._root_name:
                return member is self._root
            case ModelShape(name=name, aliases=aliases):
                return kind == "record" and schema["name"].rpartition(".")[2] in (name, *aliases)
            case EnumShape(name=name, aliases=aliases):
                return kind == "enum" and schema["name"].rpartition(".")[2] in (name, *aliases)
            case _:
                return True

    def _resolve(self, written: Any) -> Any:
        return self._named[written] if isinstance(written, str) and written not in PRIMITIVES else written


def _scalar(wanted: Kind, schema: Any) -> Plan | None:
    base = schema if isinstance(schema, str) else schema["type"]
    if base in NAMED or base in ("array", "map") or _logical(schema) == "decimal":
        return None
    found = _WRITTEN.get((base, _logical(schema)), _WRITTEN[base, None])
    if found is wanted or found.python_type is wanted.python_type:
        return ScalarPlan(base, _CONVERTERS.get(found))
    if found is Kind.STRING and wanted in _TEXTS:
        return ScalarPlan(base, _CONVERTERS[wanted])
    if wanted is Kind.STRING and found in _TEXTS:
        return ScalarPlan(base, None)
    match found, wanted:
        case Kind.INTEGER, Kind.FLOAT:
            return ScalarPlan(base, conversions.read_float)
        case Kind.STRING, Kind.BYTES:
            return ScalarPlan(base, str.encode)
        case Kind.BYTES, Kind.STRING:
            return ScalarPlan(base, bytes.decode)
        case _:
            return None


def _logical(schema: Any) -> str | None:
    return schema.get("logicalType") if isinstance(schema, dict) else None


def _spell(schema: Any) -> str:
    if isinstance(schema, str):
        return schema
    return str(schema.get("logicalType") or schema.get("name") or schema["type"])


def _bears_name(member: Shape, schema: Any) -> bool:
    """Whether it is of today's name, and not of one that `member` had before."""
    name = schema["name"] if isinstance(schema, dict) and "name" in schema else ""
    return not isinstance(member, EnumShape | ModelShape) or name.rpartition(".")[2] == member.name


def _was_renamed(shape: Shape, schema: Any) -> str:
    """What to do where a class may bear another name than the one that was written."""
    kinds = {"enum": EnumShape, "record": ModelShape}
    kind = kinds.get(schema["type"]) if isinstance(schema, dict) else None
    members = shape.members if isinstance(shape, UnionShape) else (shape,)
    if kind is None or not any(isinstance(member, kind) for member in members):
        return ""
    return f"if the class was renamed, give it the old name with @stored_as({_spell(schema)!r}); else "


def _under(field: str, error: Exception) -> str:
    text = str(error)
    return f"{field}{text}" if text.startswith(":") else f"{field}.{text}"
