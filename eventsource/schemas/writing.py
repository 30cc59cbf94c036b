"""Functions from instances straight to Avro's bytes, written out for one schema.

They take what is plainly right. At anything else (a value of another type, a number out of bounds, whatever raises) the
reference codec does it all again, and gives the result or the error.
"""

from __future__ import annotations

import builtins
import dataclasses
from collections.abc import Callable
from decimal import Decimal
from operator import attrgetter
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
from eventsource.schemas import conversions, primitives
from eventsource.schemas.avro_schema import AvroSchema
from eventsource.schemas.dumping import check_attributes, has_dict
from eventsource.schemas.limits import Limits
from eventsource.schemas.primitives import SMALL, SMALL_COUNT, Unfit, varint
from eventsource.schemas.reference import Write
from eventsource.schemas.source import Lines, Source, Unsupported

# Kinds that are text or a number on the wire, and what makes them that.
TEXTS: Final[dict[Kind, Callable[[Any], str]]] = {
    Kind.TIME: conversions.time_to_iso,
    Kind.DATETIME: conversions.datetime_to_iso,
    Kind.UUID: primitives.uuid_to_text,
    Kind.DECIMAL_TEXT: Decimal.__str__,
    Kind.ZONED_DATETIME: conversions.zoned_datetime_to_text,
}
NUMBERS: Final[dict[Kind, Callable[[Any], int]]] = {
    Kind.DATE: conversions.date_to_days,
    Kind.NAIVE_DATETIME: conversions.naive_datetime_to_micros,
    Kind.DURATION: conversions.duration_to_micros,
}
# What the functions above would take a subclass of, without saying so.
EXACT_IN_MESSAGES: Final = frozenset({Kind.UUID})
_MOST_CONCATENATED: Final = 3
_symbol: Final = attrgetter("_name_")


def generated_writer(schema: AvroSchema, prefix: bytes, limits: Limits, reference: Write) -> Write | None:
    """The function for `schema`, or None if there is something in it that only the reference codec does."""
    try:
        return _Compiler(schema, prefix, limits, reference).compile()
    except Unsupported:
        return None


class _Compiler:
    def __init__(self, schema: AvroSchema, prefix: bytes, limits: Limits, reference: Write) -> None:
        self._root = schema.shape
        self._exact_types = schema.dumping.exact_types
        self._limits = limits
        self._source = Source(f"write {schema.text.name}")
        self._models: dict[ModelShape, str | None] = {}
        self._variables = 0
        self._proven: set[str] = set()
        self._prefix = self._source.bind(prefix, "PREFIX")
        self._reference = self._source.bind(reference, "reference")
        self._join = self._source.bind(b"".join, "join")
        for value, name in ((SMALL, "SMALL"), (varint, "varint"), (Unfit, "Unfit")):
            self._source.bind(value, name)

    def compile(self) -> Write:
        name = self._source.reserve("write")
        self._models[self._root] = None
        lines = Lines()
        with lines.block(f"def {name}(message):"):
            with lines.block("try:"):
                parts = self._fields(self._root, lines)
                lines.add(f"value = {self._join}(({self._prefix}, {''.join(f'{part}, ' for part in parts)}))")
                with lines.block(f"if len(value) <= {self._limits.body_bytes}:"):
                    lines.add("return value")
            with lines.block("except Exception:"):
                lines.add("pass")
            lines.add(f"return {self._reference}(message)")
        self._source.add(lines.written)
        write: Write = self._source.compile()[name]
        return write

    # --- models ---------------------------------------------------------------------------------------------------

    def _model(self, shape: ModelShape) -> str:
        """The name of the function that gives a nested instance's bytes."""
        if shape in self._models:
            name = self._models[shape]
            if name is None:
                raise Unsupported("a model that refers to itself: how deep it nests must be measured")
            return name
        self._models[shape] = None
        lines = Lines()
        name = self._source.reserve(f"write_{shape.name}")
        with lines.block(f"def {name}(message):"):
            parts = self._fields(shape, lines)
            lines.add(f"return {self._together(parts)}")
        self._source.add(lines.written)
        self._models[shape] = name
        return name

    def _fields(self, shape: ModelShape, lines: Lines) -> list[str]:
        self._require(lines, f"type(message) is {self._class(shape.model)}")
        by_attribute = shape.is_dataclass and (not has_dict(shape.model) or _has_class_defaults(shape.model))
        if by_attribute and has_dict(shape.model):
            names = self._source.bind(frozenset(field.name for field in shape.fields), f"FIELDS_OF_{shape.name}")
            lines.add(f"{self._source.bind(check_attributes, 'check_attributes')}(message, {names})")
        elif not by_attribute:
            lines.add("fields = message.__dict__")
            if shape.is_dataclass:  # all of its fields are looked up below, so there is no other
                self._require(lines, f"len(fields) == {len(shape.fields)}")
        parts: list[str] = []
        for field in shape.fields:
            v = self._variable()
            lines.add(f"{v} = message.{field.name}" if by_attribute else f"{v} = fields[{field.name!r}]")
            parts += self._parts(field.shape, v, lines)
        return parts

    # --- values: each adds lines, and gives code for the pieces of bytes in their order ---------------------------------

    def _parts(self, shape: Shape, v: str, lines: Lines) -> list[str]:
        match shape:
            case Scalar(kind=kind):
                return self._scalar(kind, v, lines)
            case DecimalShape():
                return self._decimal(shape, v, lines)
            case EnumShape(enum=enum):
                self._require(lines, f"type({v}) is {self._class(enum)}")
                symbols = {member.name: varint(index) for index, member in enumerate(enum)}
                return [f"{self._source.bind(symbols, f'SYMBOLS_OF_{shape.name}')}[{v}._name_]"]
            case ModelShape():
                return [f"{self._model(shape)}({v})"]
            case UnionShape():
                return self._union(shape, v, lines)
            case ArrayShape():
                return self._array(shape, v, lines)
            case TupleShape(items=items):
                self._require(lines, f"type({v}) is tuple and len({v}) == {len(items)}")
                parts: list[str] = []
                for index, item in enumerate(items):
                    inner = self._variable()
                    lines.add(f"{inner} = {v}[{index}]")
                    parts += self._parts(item, inner, lines)
                return parts
            case DictShape(key=key, value=value):
                self._require(lines, f"type({v}) is dict")
                return self._items(v, f"{v}.items()", (key, value), lines)

    def _scalar(self, kind: Kind, v: str, lines: Lines) -> list[str]:
        text, number = TEXTS.get(kind), NUMBERS.get(kind)
        if text is not None or number is not None:
            if self._exact_types or kind in EXACT_IN_MESSAGES:
                self._require(lines, f"type({v}) is {self._class(kind.python_type)}")
            convert = self._source.bind(text or number, kind.name.lower())
            found = self._variable()
            lines.add(f"{found} = {convert}({v})")
            return [_long(found)] if text is None else self._text(found, lines)
        match kind:
            case Kind.NULL:
                self._require(lines, f"{v} is None")
                return []
            case Kind.BOOLEAN:
                self._require(lines, f"{v} is True or {v} is False")
                return [rf'(b"\x01" if {v} else b"\x00")']
            case Kind.INTEGER:
                self._require(lines, f"type({v}) is int")
                return [_long(v)]
            case Kind.FLOAT:
                self._require(lines, f"type({v}) is float")
                return [f"{self._source.bind(primitives.pack_double, 'pack_double')}({v})"]
            case Kind.STRING:
                self._require(lines, f"type({v}) is str")
                return self._text(v, lines)
            case _:
                self._require(lines, f"type({v}) is bytes")
                return self._sized(v, lines)

    def _text(self, v: str, lines: Lines) -> list[str]:
        encoded = self._variable()
        lines.add(f"{encoded} = {v}.encode()")
        return self._sized(encoded, lines)

    def _sized(self, v: str, lines: Lines) -> list[str]:
        size = self._variable()
        lines.add(f"{size} = len({v})")
        return [_count(size), v]

    def _decimal(self, shape: DecimalShape, v: str, lines: Lines) -> list[str]:
        """The digits are taken from the text, which is half the time of scaling the number."""
        self._require(lines, f"type({v}) is {self._class(Decimal)}")
        text, unscaled, size, data = (self._variable() for _ in range(4))
        lines.add(f"{text} = str({v})")
        point = shape.scale + 1
        is_plain = f"len({text}) > {point} and {text}[-{point}] == '.'" if shape.scale else f"{text}.isdigit()"
        with lines.block(f"if {is_plain}:"):
            lines.add(f"{unscaled} = int({text}.replace('.', ''))")
            bound = self._source.bind(primitives.power_of_ten(shape.precision), f"TEN_TO_{shape.precision}")
            self._require(lines, f"-{bound} < {unscaled} < {bound}")
            with lines.block(f"if {unscaled} >= 0:"):
                lines.add(f"{size} = ({unscaled}.bit_length() >> 3) + 1")
                lines.add(f"{data} = {unscaled}.to_bytes({size}, 'big')")
            with lines.block("else:"):
                lines.add(f"{size} = ((~{unscaled}).bit_length() >> 3) + 1")
                lines.add(f"{data} = {unscaled}.to_bytes({size}, 'big', signed=True)")
        with lines.block("else:"):
            convert = conversions.decimal_to_bytes(shape.precision, shape.scale)
            lines.add(f"{data} = {self._source.bind(convert, 'decimal_to_bytes')}({v})")
            lines.add(f"{size} = len({data})")
        return [_count(size), data]

    def _union(self, shape: UnionShape, v: str, lines: Lines) -> list[str]:
        found = self._variable()
        for index, member in enumerate(shape.members):
            condition = f"type({v}) is {self._class(member.python_type)}"
            if member == Scalar(Kind.NULL):
                condition = f"{v} is None"
            self._proven.add(condition)
            with lines.block(f"{'elif' if index else 'if'} {condition}:"):
                parts = [repr(varint(index)), *self._parts(member, v, lines)]
                lines.add(f"{found} = {self._together(parts)}")
        with lines.block("else:"):
            lines.add("raise Unfit")
        return [found]

    def _array(self, shape: ArrayShape, v: str, lines: Lines) -> list[str]:
        self._require(lines, f"type({v}) is {shape.container.__name__}")
        if shape.container not in (set, frozenset):
            return self._items(v, v, (shape.item,), lines)
        return self._items(v, f"sorted({v}{self._sort_key(shape.item)})", (shape.item,), lines)

    def _sort_key(self, item: Shape) -> str:
        """How the items of a set are brought into the order that they have once they are written."""
        match item:
            case Scalar(kind=Kind.STRING | Kind.INTEGER | Kind.BYTES | Kind.BOOLEAN):
                return ""
            case Scalar(kind=kind) if key := TEXTS.get(kind) or NUMBERS.get(kind):
                return f", key={self._source.bind(key, kind.name.lower())}"
            case EnumShape():
                return f", key={self._source.bind(_symbol, 'symbol')}"
            case DecimalShape(precision=precision, scale=scale):
                return f", key={self._source.bind(conversions.decimal_to_bytes(precision, scale), 'decimal_to_bytes')}"
            case _:
                raise Unsupported("a set whose items are sorted as whatever they are written as")

    def _items(self, v: str, iterable: str, shapes: tuple[Shape, ...], lines: Lines) -> list[str]:
        """One block of all items, or none, and the empty one behind it."""
        found, parts = self._variable(), self._variable()
        items = [self._variable() for _ in shapes]
        with lines.block(f"if {v}:"):
            lines.add(f"{parts} = [{_count(f'len({v})')}]")
            with lines.block(f"for {', '.join(items)} in {iterable}:"):
                inner = [
                    part for item, shape in zip(items, shapes, strict=True) for part in self._parts(shape, item, lines)
                ]
                lines.add(f"{parts} += ({''.join(f'{part}, ' for part in inner)})")
            lines.add(rf'{parts}.append(b"\x00")')
            lines.add(f"{found} = {self._join}({parts})")
        with lines.block("else:"):
            lines.add(rf'{found} = b"\x00"')
        return [found]

    # --- small things ---------------------------------------------------------------------------------------------

    def _require(self, lines: Lines, condition: str) -> None:
        if condition in self._proven:
            return
        with lines.block(f"if not ({condition}):"):
            lines.add("raise Unfit")

    def _class(self, cls: type) -> str:
        return (
            cls.__name__
            if getattr(builtins, cls.__name__, None) is cls
            else self._source.bind(cls, f"{cls.__name__}_class")
        )

    def _together(self, parts: list[str]) -> str:
        if not parts:
            return 'b""'
        if len(parts) <= _MOST_CONCATENATED:
            return " + ".join(parts)
        return f"{self._join}(({', '.join(parts)}))"

    def _variable(self) -> str:
        self._variables += 1
        return f"v{self._variables}"


def _has_class_defaults(cls: type) -> bool:
    """Whether a field's default may be its class's attribute alone."""
    return any(not field.init and field.default is not dataclasses.MISSING for field in dataclasses.fields(cls))


def _long(v: str) -> str:
    return f"(SMALL[{v}] if -{SMALL_COUNT} <= {v} < {SMALL_COUNT} else varint({v}))"


def _count(v: str) -> str:
    return f"(SMALL[{v}] if {v} < {SMALL_COUNT} else varint({v}))"
