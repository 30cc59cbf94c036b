"""Codecs in machine code for flat records, those whose fields are scalars, Decimals or members of enums, present or null.

They are there only where the wheel was compiled.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from typing import Any, Final

import pydantic

from eventsource.domain.shapes import DecimalShape, EnumShape, Kind, Scalar, Shape, UnionShape
from eventsource.schemas import conversions, primitives
from eventsource.schemas.avro import SCALARS
from eventsource.schemas.avro_schema import AvroSchema
from eventsource.schemas.fingerprint import PRIMITIVES
from eventsource.schemas.limits import Limits
from eventsource.schemas.loading import has_plain_default
from eventsource.schemas.plans import DecimalPlan, EnumPlan, Plan, RecordPlan, ScalarPlan, UnionPlan
from eventsource.schemas.reading import FASTER
from eventsource.schemas.reference import Read, Write
from eventsource.schemas.writing import EXACT_IN_MESSAGES, NUMBERS, TEXTS

_Writer: Any
_Reader: Any
try:
    from eventsource.schemas.native_reading import RecordReader as _Reader
    from eventsource.schemas.native_writing import RecordWriter as _Writer
except ImportError:  # they were not compiled
    _Writer = _Reader = None

_NOT_NULL: Final = -1
_NOWHERE: Final = -1
_DECIMAL: Final = "decimal"

_Written = tuple[str, type | None, Callable[[Any], Any] | None, int, int, int]
"""How a value is written: Avro type, the exact class of what is converted, what converts it, the place of null in a union with it, a
Decimal's precision and scale."""
_Reading = tuple[str, Callable[[Any], Any] | None, int, int]
"""How a value is read: Avro type, what converts it, the place of null in a union with it, how many bytes a Decimal has at most."""


def flat_writer(schema: AvroSchema, prefix: bytes, limits: Limits, reference: Write) -> Write | None:
    """The function for `schema`, or None if it is not flat or nothing was compiled."""
    shape = schema.shape
    if _Writer is None or shape.is_dataclass:
        return None
    fields = []
    for field in shape.fields:
        written = _written(field.shape, exact_types=schema.dumping.exact_types)
        if written is None:
            return None
        fields.append((field.name, *written))
    try:
        write: Write = _Writer(shape.model, fields, prefix, limits.body_bytes, reference).write
    except (ValueError, OverflowError):  # more fields or digits than it takes
        return None
    return write


def _written(shape: Shape, *, exact_types: bool) -> _Written | None:
    match shape:
        case Scalar(kind=kind):
            text, number = TEXTS.get(kind), NUMBERS.get(kind)
            if text is None and number is None:
                return SCALARS[kind], None, None, _NOT_NULL, 0, 0
            exact = kind.python_type if exact_types or kind in EXACT_IN_MESSAGES else None
            return "long" if text is None else "string", exact, text or number, _NOT_NULL, 0, 0
        case DecimalShape(precision=precision, scale=scale):
            convert = conversions.decimal_to_bytes(precision, scale)
            return _DECIMAL, Decimal, convert, _NOT_NULL, precision, scale
        case EnumShape(enum=enum):
            return "long", enum, _place_of({member.name: place for place, member in enumerate(enum)}), _NOT_NULL, 0, 0
        case UnionShape(members=(first, second)) if Scalar(Kind.NULL) in (first, second):
            place = 0 if first == Scalar(Kind.NULL) else 1
            value = second if place == 0 else first
            inner = _written(value, exact_types=True)  # the branches of a union are told apart by the exact class
            if inner is None or value == Scalar(Kind.NULL):
                return None
            return *inner[:3], place, *inner[4:]
        case _:
            return None


def flat_reader(plan: RecordPlan, skip: int, limits: Limits, reference: Read) -> Read | None:
    """The function that follows `plan`, or None if it is not flat or nothing was compiled."""
    model = plan.shape.model
    if _Reader is None or plan.refusal is not None or not issubclass(model, pydantic.BaseModel):
        return None
    if inspect.isabstract(model):
        return None
    names = tuple(field.field.name for field in plan.fields)
    sources = [field.source for field in plan.fields if field.source is not None]
    if len(set(sources)) != len(sources):
        return None
    places = {field.source: place for place, field in enumerate(plan.fields) if field.source is not None}
    defaults: dict[str, Any] = {}
    for field in plan.fields:
        if field.plan is None:
            if not has_plain_default(field.field.info):
                return None
            defaults[field.field.name] = field.field.info.default
    written = []
    for one in plan.written["fields"]:
        place = places.get(one["name"], _NOWHERE)
        target = plan.fields[place].plan if place != _NOWHERE else _passed_over(one["type"])
        reading = None if target is None else _read(target)
        if reading is None:
            return None
        written.append((*reading, place))
    try:
        reader = _Reader(model, written, names, defaults, skip, limits.body_bytes, reference)
    except (ValueError, OverflowError):  # more fields or digits than it takes
        return None
    read: Read = reader.read
    return read


def _passed_over(written: Any) -> Plan | None:
    """How a field is read that nobody wants; None where it is no primitive."""
    kind = written["type"] if isinstance(written, dict) else written
    return ScalarPlan(kind, None) if isinstance(kind, str) and kind in PRIMITIVES else None


def _read(plan: Plan) -> _Reading | None:
    match plan:
        case ScalarPlan(written=written, convert=convert):
            return written, None if convert is None else FASTER.get(convert, convert), _NOT_NULL, 0
        case DecimalPlan(precision=precision, scale=scale):
            convert = _times(primitives.multiply(precision), primitives.unit(scale))
            return _DECIMAL, convert, _NOT_NULL, primitives.longest_decimal_bytes(precision)
        case EnumPlan(symbols=symbols, members=members):
            return "long", _member_at([members.get(symbol) for symbol in symbols]), _NOT_NULL, 0
        case UnionPlan(branches=((_, first), (_, second))):
            is_null = [branch == ScalarPlan("null", None) for branch in (first, second)]
            if sum(is_null) != 1:
                return None
            inner = _read(first if is_null[1] else second)
            return None if inner is None or inner[2] != _NOT_NULL else (*inner[:2], is_null.index(True), inner[3])
        case _:
            return None


def _place_of(places: dict[str, int]) -> Callable[[Enum], int]:
    def place_of(member: Enum) -> int:
        return places[member._name_]

    return place_of


def _member_at(members: list[Enum | None]) -> Callable[[int], Enum]:
    def member_at(place: int) -> Enum:
        member = members[place] if place >= 0 else None
        if member is None:
            raise primitives.Unfit
        return member

    return member_at


def _times(multiply: Callable[[int, Decimal], Decimal], unit: Decimal) -> Callable[[int], Decimal]:
    def times(unscaled: int) -> Decimal:
        return multiply(unscaled, unit)

    return times
