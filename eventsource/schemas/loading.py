"""Straight-line functions from the plain data that fastavro reads to messages, for one writer's schema.

Schema resolution happens here, once per pair of schemas and not per message: fastavro reads by the writer's schema alone.
So a renamed nested class, a default that Avro cannot spell, or a default factory is no obstacle. Nothing of today's class
is validated, and none of its code is run but default factories.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import Enum
from typing import Any, Final

import pydantic

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
from eventsource.errors import DecodeError
from eventsource.schemas import conversions
from eventsource.schemas.avro import DECIMAL_TEXT, DURATION_MICROS, ISO_DATETIME, ISO_TIME, ZONED_DATETIME
from eventsource.schemas.fingerprint import NAMED, PRIMITIVES
from eventsource.schemas.location import FAILURES, locate
from eventsource.schemas.schema_text import named_schemas
from eventsource.schemas.source import Source

Load = Callable[[Any], Any]

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
_CONVERTERS: Final[dict[Kind, Load]] = {
    Kind.DATE: conversions.date_from_days,
    Kind.TIME: conversions.time_from_iso,
    Kind.DATETIME: conversions.datetime_from_iso,
    Kind.NAIVE_DATETIME: conversions.naive_datetime_from_micros,
    Kind.DURATION: conversions.duration_from_micros,
    Kind.UUID: conversions.uuid_from_str,
    Kind.DECIMAL_TEXT: conversions.decimal_from_text,
    Kind.ZONED_DATETIME: conversions.zoned_datetime_from_text,
}
# What fastavro returns for a branch of a union that has no name of its own.
_READ_AS: Final[dict[str, type]] = {
    "null": type(None),
    "boolean": bool,
    "int": int,
    "long": int,
    "float": float,
    "double": float,
    "string": str,
    "bytes": bytes,
    "array": list,
    "map": dict,
}

# Slot setters: an instance is built without its class's __init__, validators or frozen check.
_slots = vars(pydantic.BaseModel)
_set_dict = _slots["__dict__"].__set__
_set_fields_set = _slots["__pydantic_fields_set__"].__set__
_set_extra = _slots["__pydantic_extra__"].__set__
_set_private = _slots["__pydantic_private__"].__set__


class _Unresolvable(Exception):  # becomes a DecodeError that names the message
    """What was written cannot become what is declared today."""


class Loading:
    """The compiled function from one writer's schema to one message class. Raises `DecodeError` if there can be none."""

    def __init__(self, shape: ModelShape, written: dict[str, Any], names: Collection[str]) -> None:
        """`names`: the record's own full name, then those that it had before."""
        message_name = next(iter(names))
        if written["name"] not in names:
            raise DecodeError(
                f"{message_name}: the bytes are those of {written['name']}: if that is its old name, give it in aliases"
            )
        compiler = _Compiler(shape, written)
        try:
            root = compiler.model(shape, written)
        except _Unresolvable as error:
            raise DecodeError(f"{message_name}.{error}") from error
        self.source = compiler.source
        self.load: Load = compiler.source.compile()[root]


class _Compiler:
    def __init__(self, root: ModelShape, written: dict[str, Any]) -> None:
        self._root, self._root_name = root, written["name"]
        self.source = Source(f"load {written['name']}")
        self._named = named_schemas(written)
        self._models: dict[tuple[ModelShape, str], str] = {}
        self._variables = 0
        for name, helper in (
            ("new", object.__new__),
            ("set_dict", _set_dict),
            ("set_fields_set", _set_fields_set),
            ("set_extra", _set_extra),
            ("set_private", _set_private),
            ("FAILURES", FAILURES),
            ("locate", locate),
        ):
            self.source.bind(helper, name)

    # --- models ---------------------------------------------------------------------------------------------------

    def model(self, shape: ModelShape, record: dict[str, Any]) -> str:
        """The name of the function that makes instances of `shape` from dicts of the record that was written."""
        key = (shape, record["name"])
        if key not in self._models:
            name = self._models[key] = self.source.reserve(f"load_{shape.name}")
            try:
                self._write_model(name, shape, record)
            except _Unresolvable as error:
                # Functions that refer to this one may be there already, since models can refer to each other.
                self.source.rebind(name, _Refusal(str(error)))
                raise
        return self._models[key]

    def _write_model(self, name: str, shape: ModelShape, record: dict[str, Any]) -> None:
        written = {field["name"]: field["type"] for field in record["fields"]}
        present: set[str] = set()
        items: list[tuple[str, str]] = []
        for field in shape.fields:
            source = next((found for found in (field.name, *field.aliases) if found in written), None)
            if source is None:
                items.append((field.name, self._default(shape, field)))
                continue
            present.add(field.name)
            try:
                items.append((field.name, self.expression(field.shape, written[source], f"record[{source!r}]")))
            except _Unresolvable as error:
                raise _Unresolvable(_under(field.name, error)) from error
        model = self.source.bind(shape.model, f"{shape.name}_class")
        line_of: dict[int, str] = {}
        lines = self.source.bind(line_of, f"LINES_OF_{shape.name}")
        head = [f"def {name}(record):", "    fields = {}", "    try:"]
        values = [f"        fields[{field!r}] = {code}" for field, code in items]
        first = self.source.add(
            [
                *head,
                *(values or ["        pass"]),
                "    except FAILURES as error:",
                f"        raise locate({lines}, error) from error",
                f"    message = new({model})",
                *self._fill(shape, present),
                "    return message",
            ]
        )
        line_of.update({first + len(head) + index: field for index, (field, _) in enumerate(items)})

    def _fill(self, shape: ModelShape, present: set[str]) -> list[str]:
        if shape.is_dataclass:
            set_attribute = self.source.bind(object.__setattr__, "set_attribute")
            return ["    for name, value in fields.items():", f"        {set_attribute}(message, name, value)"]
        fields_set = self.source.bind(present, f"FIELDS_SET_OF_{shape.name}")
        return [
            "    set_dict(message, fields)",
            f"    set_fields_set(message, {fields_set}.copy())",
            "    set_extra(message, None)",
            "    set_private(message, None)",
        ]

    def _default(self, shape: ModelShape, field: FieldShape) -> str:
        info = field.info
        if info.is_required():
            raise _Unresolvable(
                f"{field.name}: the message was written before {shape.label} had this field: give it a default, "
                "or name the field's old name in json_schema_extra={'aliases': [...]}"
            )
        if info.default_factory is not None:
            if info.default_factory_takes_validated_data:
                return f"{self.source.bind(info.default_factory, f'default_{field.name}')}(fields.copy())"
            return f"{self.source.bind(info.default_factory, f'default_{field.name}')}()"
        # `get_default` copies what could be changed.
        return f"{self.source.bind(info.get_default, f'default_{field.name}')}()"

    # --- expressions ----------------------------------------------------------------------------------------------

    def expression(self, shape: Shape, written: Any, v: str) -> str:
        """Code that loads `v`, which is itself code that is cheap to repeat. Raises `_Unresolvable`."""
        schema = self._resolve(written)
        if isinstance(schema, list):
            return self._written_union(shape, schema, v)
        if isinstance(shape, UnionShape):
            return self._into_union(shape, schema, v)
        code = self._single(shape, schema, v)
        if code is None:
            raise _Unresolvable(
                f": it was written as {_spell(schema)} and is {shape.label} today: "
                "keep the old type under the old name, and add a field for the new one"
            )
        return code

    def _single(self, shape: Shape, schema: Any, v: str) -> str | None:
        """The code for two types of which neither is a union, or None if one cannot become the other."""
        kind = schema if isinstance(schema, str) else schema["type"]
        match shape:
            case Scalar(kind=wanted):
                return self._scalar(wanted, schema, v)
            case DecimalShape() if kind == "bytes" and _logical(schema) == "decimal":
                # The writer's scale: a value keeps the digits that it had.
                convert = conversions.decimal_from_bytes(schema["precision"], schema.get("scale", 0))
                return f"{self.source.bind(convert, 'decimal')}({v})"
            case EnumShape() if kind == "enum" and self._same(shape, schema):
                return f"{self.source.bind(_Members(shape), f'MEMBERS_OF_{shape.name}')}[{v}]"
            case ModelShape() if kind == "record" and self._same(shape, schema):
                return f"{self.model(shape, schema)}({v})"
            case TupleShape(items=items) if kind == "record":
                return self._tuple(items, schema, v)
            case ArrayShape() | DictShape() if kind in ("array", "map"):
                return self._container(shape, schema, v)
            case _:
                return None

    def _scalar(self, wanted: Kind, schema: Any, v: str) -> str | None:
        base = schema if isinstance(schema, str) else schema["type"]
        if base in NAMED or base in ("array", "map"):
            return None
        found = _WRITTEN.get((base, _logical(schema)), _WRITTEN[base, None])
        if _logical(schema) == "decimal":
            return None
        if found is wanted or found.python_type is wanted.python_type:
            return self._convert(found, v)
        if found is Kind.STRING and wanted in _TEXTS:
            return self._convert(wanted, v)
        if (wanted is Kind.STRING and found in _TEXTS) or wanted is found:
            return v
        match found, wanted:
            case Kind.INTEGER, Kind.FLOAT:
                return f"{self.source.bind(conversions.read_float, 'read_float')}({v})"
            case Kind.STRING, Kind.BYTES:
                return f"{v}.encode()"
            case Kind.BYTES, Kind.STRING:
                return f"{v}.decode()"
            case _:
                return None

    def _convert(self, kind: Kind, v: str) -> str:
        converter = _CONVERTERS.get(kind)
        return v if converter is None else f"{self.source.bind(converter, kind.name.lower())}({v})"

    def _tuple(self, items: tuple[Shape, ...], schema: Any, v: str) -> str | None:
        fields = schema["fields"]
        if [field["name"] for field in fields] != [f"_{index}" for index in range(len(items))]:
            return None
        parts = [
            self.expression(item, field["type"], f"{v}[{field['name']!r}]")
            for item, field in zip(items, fields, strict=True)
        ]
        return f"({''.join(f'{part}, ' for part in parts)})"

    def _container(self, shape: ArrayShape | DictShape, schema: Any, v: str) -> str | None:
        item, key = self._variable("item"), self._variable("key")
        match shape:
            case ArrayShape(item=inner, container=container) if schema["type"] == "array":
                code = self.expression(inner, schema["items"], item)
                items = f"[{code} for {item} in {v}]" if code != item else v
                return items if container is list else f"{container.__name__}({items})"
            case DictShape(value=value) if shape.is_map and schema["type"] == "map":
                code = self.expression(value, schema["values"], item)
                return f"{{{key}: {code} for {key}, {item} in {v}.items()}}"
            case DictShape(key=key_shape, value=value) if not shape.is_map and schema["type"] == "array":
                entry = self._resolve(schema["items"])
                fields = {field["name"]: field["type"] for field in entry.get("fields", ())}
                if set(fields) != {"key", "value"}:
                    return None
                key_code = self.expression(key_shape, fields["key"], f"{item}['key']")
                value_code = self.expression(value, fields["value"], f"{item}['value']")
                return f"{{{key_code}: {value_code} for {item} in {v}}}"
            case _:
                return None

    # --- unions ---------------------------------------------------------------------------------------------------

    def _into_union(self, shape: UnionShape, schema: Any, v: str) -> str:
        """One type was written, several are declared: the member that is exactly it, else the first that it can become."""
        for member in sorted(shape.members, key=lambda member: not self._same(member, schema)):
            try:
                code = self._single(member, schema, v)
            except _Unresolvable:
                continue
            if code is not None:
                return code
        raise _Unresolvable(
            f": it was written as {_spell(schema)} and is {shape.label} today: add the old type to the union"
        )

    def _written_union(self, shape: Shape, branches: list[Any], v: str) -> str:
        """fastavro returns `(name, value)` for a branch with a name, and the bare value for any other."""
        others = [branch for branch in branches if branch != "null"]
        if len(others) == 1 and len(branches) == 2:
            null = self._branch(shape, "null", v)
            named = self._name_of(others[0]) is not None
            return f"({null} if {v} is None else {self._branch(shape, others[0], f'{v}[1]' if named else v)})"
        name = self.source.reserve("load_union")
        by_name, by_type = {}, {}
        lines = []
        for index, branch in enumerate(branches):
            load = self.source.reserve(f"{name}_branch_{index}")
            lines += [f"def {load}(v):", f"    return {self._branch(shape, branch, 'v')}", ""]
            full_name = self._name_of(branch)
            if full_name is None:
                kind = branch if isinstance(branch, str) else branch["type"]
                by_type[self.source.bind(_READ_AS[kind], f"{_READ_AS[kind].__name__}_class")] = load
            else:
                by_name[full_name] = load
        self.source.add(
            [
                *lines,
                f"{name}_BY_NAME = {{{', '.join(f'{key!r}: {load}' for key, load in by_name.items())}}}",
                f"{name}_BY_TYPE = {{{', '.join(f'{key}: {load}' for key, load in by_type.items())}}}",
                "",
                f"def {name}(v):",
                "    if type(v) is tuple:",
                f"        return {name}_BY_NAME[v[0]](v[1])",
                f"    return {name}_BY_TYPE[type(v)](v)",
            ]
        )
        return f"{name}({v})"

    def _branch(self, shape: Shape, branch: Any, v: str) -> str:
        """Code for one branch. One that cannot be read fails only when a message has it."""
        try:
            return self.expression(shape, branch, v)
        except _Unresolvable as error:
            return f"{self.source.bind(_Refusal(str(error).removeprefix(': ')), 'refuse')}({v})"

    def _name_of(self, branch: Any) -> str | None:
        if isinstance(branch, str):
            return None if branch in PRIMITIVES else branch
        return branch["name"] if branch["type"] in NAMED else None

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
            case EnumShape(name=name):
                return kind == "enum" and schema["name"].rpartition(".")[2] == name
            case _:
                return True

    def _resolve(self, written: Any) -> Any:
        return self._named[written] if isinstance(written, str) and written not in PRIMITIVES else written

    def _variable(self, hint: str) -> str:
        self._variables += 1
        return f"{hint}{self._variables}"


class _Members(dict[str, Enum]):
    """An enum's members by name and alias: a renamed member may keep its old name as a second one."""

    def __init__(self, shape: EnumShape) -> None:
        super().__init__(shape.enum.__members__)
        self._label = shape.label

    def __missing__(self, symbol: str) -> Enum:
        raise DecodeError(
            f"{self._label} has no member {symbol} today: keep it, or give its successor the old name as a second one "
            "with the same value"
        )


class _Refusal:
    def __init__(self, text: str) -> None:
        self._text = text

    def __call__(self, _: object) -> object:
        raise DecodeError(self._text)


def _logical(schema: Any) -> str | None:
    return schema.get("logicalType") if isinstance(schema, dict) else None


def _spell(schema: Any) -> str:
    if isinstance(schema, str):
        return schema
    return str(schema.get("logicalType") or schema.get("name") or schema["type"])


def _under(field: str, error: Exception) -> str:
    text = str(error)
    return f"{field}{text}" if text.startswith(":") else f"{field}.{text}"
