"""Straight-line functions from messages to the plain data that fastavro writes."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
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
from eventsource.errors import EncodeError
from eventsource.schemas import conversions
from eventsource.schemas.fingerprint import PRIMITIVES
from eventsource.schemas.location import FAILURES, locate
from eventsource.schemas.schema_check import named_schemas
from eventsource.schemas.source import Source

# `{v}` is the value; the other names are bound in the module.
_SCALARS: Final[dict[Kind, str]] = {
    Kind.NULL: "({v} if {v} is None else wrong({v}, 'None'))",
    Kind.BOOLEAN: "({v} if {v} is True or {v} is False else wrong({v}, 'bool'))",
    Kind.INTEGER: f"({{v}} if type({{v}}) is int and {conversions.LONG_MIN} <= {{v}} <= {conversions.LONG_MAX} "
    "else wrong_integer({v}))",
    Kind.FLOAT: "({v} if type({v}) is float else exact_float({v}))",
    Kind.STRING: "({v} if type({v}) is str else wrong({v}, 'str'))",
    Kind.BYTES: "({v} if type({v}) is bytes else wrong({v}, 'bytes'))",
    Kind.DATE: "date_to_days({v})",
    Kind.TIME: "time_to_iso({v})",
    Kind.DATETIME: "datetime_to_iso({v})",
    Kind.NAIVE_DATETIME: "naive_datetime_to_micros({v})",
    Kind.DURATION: "duration_to_micros({v})",
    Kind.UUID: "uuid_to_str({v})",
    Kind.DECIMAL_TEXT: "decimal_to_text({v})",
    Kind.ZONED_DATETIME: "zoned_datetime_to_text({v})",
}
_HELPERS: Final = (
    conversions.wrong,
    conversions.wrong_integer,
    conversions.exact_float,
    conversions.date_to_days,
    conversions.time_to_iso,
    conversions.datetime_to_iso,
    conversions.naive_datetime_to_micros,
    conversions.duration_to_micros,
    conversions.uuid_to_str,
    conversions.decimal_to_text,
    conversions.zoned_datetime_to_text,
)
# Kinds whose functions take a subclass too.
_LENIENT: Final = frozenset({Kind.DATE, Kind.TIME, Kind.ZONED_DATETIME, Kind.DURATION, Kind.UUID})

_NEGATIVE_ZERO: Final = re.compile(r"-0\.0(?![0-9])")

Dump = Callable[[Any], Any]


class Dumping:
    """The compiled functions of one message class and its canonical schema.

    `exact_types`: whether an instance of a subclass, such as another library's datetime, is refused since it would come
    back as the class itself.
    """

    def __init__(self, shape: ModelShape, schema: dict[str, Any], *, exact_types: bool = False) -> None:
        self.exact_types = exact_types
        compiler = _Compiler(schema, exact_types=exact_types)
        root = compiler.model(shape, schema)
        self.source = compiler.source
        scope = compiler.source.compile()
        self.dump: Dump = scope[root]
        self._fields: dict[ModelShape, dict[str, Dump]] = {
            model: {field: scope[name] for field, name in fields.items()} for model, fields in compiler.fields.items()
        }

    def field(self, shape: ModelShape, name: str) -> Dump:
        """The function for one field of a model."""
        return self._fields[shape][name]


class _Compiler:
    def __init__(self, schema: dict[str, Any], *, exact_types: bool) -> None:
        self.source = Source(f"dump {schema['name']}")
        self._exact_types = exact_types
        self.fields: dict[ModelShape, dict[str, str]] = {}
        self._named = named_schemas(schema)
        self._models: dict[ModelShape, str] = {}
        self._variables = 0
        for helper in _HELPERS:
            self.source.bind(helper, helper.__name__)
        self.source.bind(FAILURES, "FAILURES")
        self.source.bind(locate, "locate")

    # --- models ---------------------------------------------------------------------------------------------------

    def model(self, shape: ModelShape, schema: Any) -> str:
        """The name of the function that dumps instances of this model."""
        if shape in self._models:
            return self._models[shape]
        name = self._models[shape] = self.source.reserve(f"dump_{shape.name}")
        line_of: dict[int, str] = {}
        lines = self.source.bind(line_of, f"LINES_OF_{shape.name}")
        model = self.source.bind(shape.model, f"{shape.name}_class")
        refuse = self.source.bind(_refuse_class, "refuse_class")
        record = self._resolve(schema)
        items = [
            (field.name, self.expression(field.shape, written["type"], f"v_{field.name}"))
            # A state's record has more after its fields, of type null: fastavro takes what is missing as that.
            for field, written in zip(shape.fields, record["fields"][: len(shape.fields)], strict=True)
        ]
        head = [
            f"def {name}(message):",
            f"    if type(message) is not {model}:",
            f"        {refuse}({model}, message)",
            *self._access(shape),
            "    try:",
        ]
        read = "message.{0}" if shape.is_dataclass else "fields[{0!r}]"
        lookups = [f"        v_{field} = {read.format(field)}" for field, _ in items]
        values = [f"            {field!r}: {expression}," for field, expression in items]
        tail = [
            "        }",
            "    except FAILURES as error:",
            f"        raise locate({lines}, error) from error",
        ]
        first = self.source.add([*head, *lookups, "        return {", *values, *tail])
        for index, (field, _) in enumerate(items):
            line_of[first + len(head) + index] = field
            line_of[first + len(head) + len(lookups) + 1 + index] = field
        fields = self.fields[shape] = {}
        for field, expression in items:
            fields[field] = self.source.reserve(f"{name}_{field}")
            self.source.add([f"def {fields[field]}(v_{field}):", f"    return {expression}"])
        return name

    def _access(self, shape: ModelShape) -> list[str]:
        if not shape.is_dataclass:
            return ["    fields = message.__dict__"]
        if not has_dict(shape.model):
            return []
        names = self.source.bind(frozenset(field.name for field in shape.fields), f"FIELDS_OF_{shape.name}")
        check = self.source.bind(check_attributes, "check_attributes")
        return [f"    if message.__dict__.keys() != {names}:", f"        {check}(message, {names})"]

    # --- expressions ----------------------------------------------------------------------------------------------

    def expression(self, shape: Shape, schema: Any, v: str) -> str:
        """Code that dumps `v`, which is itself code that is cheap to repeat: a variable, or an index into one."""
        match shape:
            case Scalar(kind=kind) if self._exact_types and kind in _LENIENT:
                cls = self.source.bind(kind.python_type, f"{kind.python_type.__name__}_class")
                return f"({_SCALARS[kind].format(v=v)} if type({v}) is {cls} else wrong({v}, {kind.label!r}))"
            case Scalar(kind=kind):
                return _SCALARS[kind].format(v=v)
            case DecimalShape(precision=precision, scale=scale):
                convert = conversions.decimal_to_bytes(precision, scale)
                return f"{self.source.bind(convert, f'decimal_{precision}_{scale}')}({v})"
            case EnumShape(enum=enum):
                member = self.source.bind(enum, f"{shape.name}_class")
                # `.name` is a descriptor in Python, four times as slow as the documented attribute behind it
                return f"({v}._name_ if type({v}) is {member} else wrong({v}, {enum.__name__!r}))"
            case ModelShape():
                return f"{self.model(shape, schema)}({v})"
            case UnionShape():
                return self._union(shape, schema, v)
            case _:
                return self._container(shape, schema, v)

    def _container(self, shape: ArrayShape | DictShape | TupleShape, schema: Any, v: str) -> str:
        item, key = self._variable("item"), self._variable("key")
        match shape:
            case ArrayShape(item=inner, container=container):
                code = f"[{self.expression(inner, schema['items'], item)} for {item} in {v}]"
                if container in (set, frozenset):
                    code = f"{self._sorter(inner)}({code})"
                check = f"type({v}) is {container.__name__}"
            case TupleShape(items=items):
                parts = [
                    f"{field['name']!r}: {self.expression(inner, field['type'], f'{v}[{index}]')}"
                    for index, (inner, field) in enumerate(zip(items, schema["fields"], strict=True))
                ]
                code = "{" + ", ".join(parts) + "}"
                check = f"type({v}) is tuple and len({v}) == {len(items)}"
            case DictShape(key=key_shape, value=value) if shape.is_map:
                checked = self.expression(key_shape, "string", key)
                code = (
                    f"{{{checked}: {self.expression(value, schema['values'], item)} for {key}, {item} in {v}.items()}}"
                )
                check = f"type({v}) is dict"
            case DictShape(key=key_shape, value=value):
                key_field, value_field = schema["items"]["fields"]
                parts_code = (
                    f"{{'key': {self.expression(key_shape, key_field['type'], key)}, "
                    f"'value': {self.expression(value, value_field['type'], item)}}}"
                )
                code = f"[{parts_code} for {key}, {item} in {v}.items()]"
                check = f"type({v}) is dict"
        wanted = f"{shape.label} of {len(shape.items)}" if isinstance(shape, TupleShape) else shape.label
        return f"({code} if {check} else wrong({v}, {wanted!r}))"

    def _sorter(self, item: Shape) -> str:
        """A set's order differs between processes; its bytes must not: a command's hash is taken over them."""
        scalar = isinstance(item, (Scalar, DecimalShape, EnumShape)) and item != Scalar(Kind.FLOAT)
        return self.source.bind(sorted if scalar else _sorted_by_text, "sorted_items")

    # --- unions ---------------------------------------------------------------------------------------------------

    def _union(self, shape: UnionShape, schema: Any, v: str) -> str:
        """fastavro takes `(branch, value)` at its word; without it, it would validate branch after branch."""
        branches = list(zip(shape.members, schema, strict=True))
        others = [(member, branch) for member, branch in branches if member != Scalar(Kind.NULL)]
        if len(others) == 1 and len(branches) == 2:
            member, branch = others[0]
            return f"(None if {v} is None else ({_tag(branch)!r}, {self.expression(member, branch, v)}))"
        name = self.source.reserve("dump_union")
        choose = self.source.bind(_choose, "choose")
        table = {}
        lines = []
        for index, (member, branch) in enumerate(branches):
            dump = self.source.reserve(f"{name}_branch_{index}")
            python_type = self.source.bind(member.python_type, f"{member.python_type.__name__}_class")
            table[python_type] = dump
            value = self.expression(member, branch, "v")
            lines += [f"def {dump}(v):", f"    return ({_tag(branch)!r}, {value})", ""]
        self.source.add(
            [
                *lines,
                f"{name}_BY_TYPE = {{{', '.join(f'{cls}: {dump}' for cls, dump in table.items())}}}",
                "",
                f"def {name}(v):",
                f"    dump = {name}_BY_TYPE.get(type(v))",
                f"    return dump(v) if dump is not None else {choose}({name}_BY_TYPE, v, {shape.label!r})",
            ]
        )
        return f"{name}({v})"

    # --- small things ---------------------------------------------------------------------------------------------

    def _resolve(self, schema: Any) -> Any:
        return self._named[schema] if isinstance(schema, str) and schema not in PRIMITIVES else schema

    def _variable(self, hint: str) -> str:
        self._variables += 1
        return f"{hint}{self._variables}"


def _tag(branch: Any) -> str:
    """How fastavro calls a branch of a union."""
    if isinstance(branch, str):
        return branch
    return str(branch.get("name", branch["type"]))


def _choose(by_type: dict[type, Dump], value: object, label: str) -> Any:
    """The branch of a value whose exact type is not among them: a subclass, or an int where only float is declared."""
    for cls in type(value).__mro__:
        if cls in by_type:
            return by_type[cls](value)
    if type(value) is int and float in by_type:
        return by_type[float](value)
    return conversions.wrong(value, label)


def _sorted_by_text(items: list[Any]) -> list[Any]:
    return sorted(items, key=_text_of)


def _text_of(item: Any) -> tuple[str, str]:
    """What items of a set are sorted by: a negative zero stands where a zero would, since sets that hold one or the other are equal."""
    text = repr(item)
    return _NEGATIVE_ZERO.sub("0.0", text), text


def has_dict(cls: type) -> bool:
    """Whether instances can have attributes that are no fields."""
    return any("__dict__" in vars(base) for base in cls.__mro__)


def check_attributes(instance: Any, fields: frozenset[str]) -> None:
    """Refuses attributes that are no fields. What a `cached_property` keeps is computed again when it is asked for."""
    for name in sorted(instance.__dict__.keys() - fields):
        if not isinstance(inspect.getattr_static(type(instance), name, None), functools.cached_property):
            raise EncodeError(
                f"{type(instance).__name__}.{name} is no field, and would not come back: declare it with its type"
            )


def _refuse_class(model: type, value: object) -> None:
    found = type(value)
    if issubclass(found, model):
        raise EncodeError(
            f"an instance of {found.__name__}, a subclass, would come back as {model.__name__}: "
            f"declare the field {model.__name__} | {found.__name__}"
        )
    raise EncodeError(f"{model.__name__} is needed, not {found.__name__}")
