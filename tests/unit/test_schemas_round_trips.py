"""Every type that is admitted comes back as exactly what it was, and plain Avro can read what is written."""

from __future__ import annotations

import enum
import io
import math
import struct
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

import fastavro
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from eventsource.schemas import MemorySchemaStore, MessageCodec
from eventsource.schemas.conversions import LONG_MAX, LONG_MIN

quick = settings(max_examples=25, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])

Money = Annotated[Decimal, Field(max_digits=18, decimal_places=2)]
Tiny = Annotated[Decimal, Field(max_digits=4, decimal_places=4)]
Whole = Annotated[Decimal, Field(max_digits=40, decimal_places=0)]
T = TypeVar("T")


class Colour(enum.Enum):
    RED = "r"
    BLUE = "b"
    CRIMSON = "r"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Word(enum.StrEnum):
    YES = "yes"


class Address(BaseModel):
    model_config = ConfigDict(frozen=True)
    city: str
    code: int | None = None


class Company(BaseModel):
    model_config = ConfigDict(frozen=True)
    address: Address
    kind: Literal["company"] = "company"


class Pair(BaseModel, Generic[T]):
    left: T
    right: T


class Node(BaseModel):
    value: int
    children: list[Node] = []
    next: Node | None = None


@cache
def codec_of(annotation: Any) -> MessageCodec[Any]:
    return MessageCodec(pydantic.create_model("Message", field=(annotation, ...)), "message", MemorySchemaStore())


def round_trip(annotation: Any, value: Any) -> Any:
    codec = codec_of(annotation)
    # the value as it is, whatever a validator would make of it
    message = codec.decode(codec.encode(codec.model.model_construct(field=value)))
    return message.field


def exactly(value: Any) -> Any:
    """What `==` does not tell: types, the bits of a float, a UTC offset."""
    if isinstance(value, float):
        return struct.pack(">d", value)
    if isinstance(value, datetime):
        return (value.replace(tzinfo=None), value.utcoffset(), value.fold if value.tzinfo is None else 0)
    if isinstance(value, time):
        return (value.replace(tzinfo=None), value.utcoffset(), value.fold if value.tzinfo is None else 0)
    if isinstance(value, (list, tuple)):
        return (type(value), [exactly(item) for item in value])
    if isinstance(value, dict):
        return [(exactly(key), exactly(item)) for key, item in value.items()]
    if isinstance(value, BaseModel):
        return (type(value), exactly(value.__dict__), value.__pydantic_extra__, value.__pydantic_private__)
    return (type(value), value)


offsets = st.integers(-86_399, 86_399).map(lambda seconds: timezone(timedelta(seconds=seconds)))
longs = st.integers(LONG_MIN, LONG_MAX)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
naive = st.datetimes()
unfolded = naive.map(lambda value: value.replace(fold=0))
durations = st.timedeltas(timedelta(microseconds=LONG_MIN), timedelta(microseconds=LONG_MAX))
money = st.decimals(Decimal("-9999999999999999.99"), Decimal("9999999999999999.99"), places=2)
addresses = st.builds(Address, city=texts, code=st.none() | longs)
companies = st.builds(Company, address=addresses)
nodes = st.recursive(
    st.builds(Node, value=longs),
    lambda inner: st.builds(Node, value=longs, children=st.lists(inner, max_size=2), next=st.none() | inner),
    max_leaves=5,
)


class Nested(BaseModel):
    """A union inside of a union: their functions must not be taken for one another's."""

    model_config = ConfigDict(frozen=True)
    inner: int | str | bool | None


CASES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (str, texts),
    (int, longs),
    (float, st.floats()),
    (bool, st.booleans()),
    (bytes, st.binary(max_size=8)),
    (Money, money),
    (Tiny, st.decimals(Decimal("-0.9999"), Decimal("0.9999"), places=4)),
    (Whole, st.integers(-(10**40) + 1, 10**40 - 1).map(Decimal)),
    (datetime, st.datetimes(timezones=st.none() | offsets)),
    (pydantic.AwareDatetime, st.datetimes(timezones=offsets)),
    (pydantic.NaiveDatetime, unfolded),
    (date, st.dates()),
    (time, st.times(timezones=st.none() | offsets)),
    (timedelta, durations),
    (UUID, st.uuids()),
    (Colour, st.sampled_from(Colour)),
    (Level, st.sampled_from(Level)),
    (Word, st.sampled_from(Word)),
    (Literal["a", 1, None, b"x"], st.sampled_from(["a", 1, None, b"x"])),
    (str | None, st.none() | texts),
    (int | float | bool | None, st.none() | longs | st.floats() | st.booleans()),
    (date | datetime | bytes, st.dates() | naive | st.binary(max_size=4)),
    (Address | Company, addresses | companies),
    (
        Annotated[Company | Address, Field()] | Colour | list[int] | str,
        companies | st.sampled_from(Colour) | st.lists(longs) | texts,
    ),
    (list[Money], st.lists(money, max_size=4)),
    (list[str | None], st.lists(texts | st.none(), max_size=4)),
    (list[list[Address]], st.lists(st.lists(addresses, max_size=2), max_size=2)),
    (tuple[int, ...], st.lists(longs, max_size=4).map(tuple)),
    (
        tuple[int, str | None, tuple[bool, date]],
        st.tuples(longs, st.none() | texts, st.tuples(st.booleans(), st.dates())),
    ),
    (tuple[()], st.just(())),
    (set[int], st.sets(longs, max_size=4)),
    (frozenset[str | int], st.frozensets(texts | longs, max_size=4)),
    (frozenset[tuple[int, str]], st.frozensets(st.tuples(longs, texts), max_size=4)),
    (dict[str, Money], st.dictionaries(texts, money, max_size=4)),
    (
        dict[str, dict[str, list[int]]],
        st.dictionaries(texts, st.dictionaries(texts, st.lists(longs, max_size=2), max_size=2), max_size=2),
    ),
    (dict[UUID, Address], st.dictionaries(st.uuids(), addresses, max_size=3)),
    (dict[int | Colour, str], st.dictionaries(longs | st.sampled_from(Colour), texts, max_size=3)),
    (Address, addresses),
    (
        float | bytes | Nested | list[str | int | None],
        st.floats()
        | st.binary(max_size=4)
        | st.builds(Nested, inner=longs | texts | st.booleans() | st.none())
        | st.lists(texts | longs | st.none(), max_size=3),
    ),
    (Pair[int], st.builds(Pair[int], left=longs, right=longs)),
    (Node, nodes),
]


@pytest.mark.parametrize(
    ("annotation", "values"), CASES, ids=lambda value: None if isinstance(value, st.SearchStrategy) else str(value)
)
def test_every_value_comes_back_exactly(annotation: Any, values: st.SearchStrategy[Any]) -> None:
    @quick
    @given(values)
    def check(value: Any) -> None:
        found = round_trip(annotation, value)
        assert exactly(found) == exactly(value)

    check()


@pytest.mark.parametrize("bits", [0x7FF0000000000000, 0xFFF0000000000000, 0x7FF8000000000001, 0x8000000000000000, 1])
def test_every_bit_of_a_float_comes_back(bits: int) -> None:
    value = struct.unpack(">d", bits.to_bytes(8, "big"))[0]
    assert struct.pack(">d", round_trip(float, value)) == bits.to_bytes(8, "big")


@pytest.mark.parametrize(
    "text", ["0", "-0.00", "5", "5.0", "-5.00", "1E+3", "0.01", "-0.01", "9999999999999999.99", "-1.28"]
)
def test_a_decimal_keeps_its_number_however_it_was_written(text: str) -> None:
    found = round_trip(Money, Decimal(text))
    assert found == Decimal(text)
    assert found.as_tuple().exponent == -2


def test_a_decimal_does_not_depend_on_the_callers_context() -> None:
    import decimal

    with decimal.localcontext() as context:
        context.prec = 2
        assert str(round_trip(Money, Decimal("1234567890123456.78"))) == "1234567890123456.78"


def test_an_offset_with_seconds_comes_back() -> None:
    value = datetime(1900, 1, 1, tzinfo=timezone(timedelta(hours=2, minutes=5, seconds=21)))
    assert round_trip(datetime, value).utcoffset() == timedelta(hours=2, minutes=5, seconds=21)


def test_the_order_of_a_dict_comes_back() -> None:
    assert list(round_trip(dict[str, int], {"b": 1, "a": 2})) == ["b", "a"]


def test_a_set_has_the_same_bytes_however_it_was_filled() -> None:
    codec = codec_of(set[str])
    one, other = set(map(str, range(50))), set(map(str, reversed(range(50))))
    assert codec.encode(codec.model(field=one)) == codec.encode(codec.model(field=other))
    body = codec.encode(codec.model(field={"b", "a", "c"}))
    assert body.endswith(b"\x06\x02a\x02b\x02c\x00")


def test_an_int_default_of_a_float_field_is_written_as_that_float() -> None:
    class Message(BaseModel):
        ratio: float = 0
        either: float | None = 1

    codec = MessageCodec(Message, "message", MemorySchemaStore())
    found = codec.decode(codec.encode(Message()))
    assert (found.ratio, found.either) == (0.0, 1.0)
    assert type(found.ratio) is type(found.either) is float


class Everything(BaseModel):
    model_config = ConfigDict(frozen=True)
    text: str
    number: int
    ratio: float
    flag: bool
    raw: bytes
    amount: Money
    day: date
    local: pydantic.NaiveDatetime
    at: datetime
    id: UUID
    colour: Colour
    tags: list[str]
    scores: dict[str, int]
    address: Address
    either: Address | Company | None = None
    note: str | None = None


EVERYTHING = Everything(
    text="ü",
    number=-1,
    ratio=0.5,
    flag=True,
    raw=b"\x00\xff",
    amount=Decimal("-12.34"),
    day=date(1969, 12, 31),
    local=datetime(2024, 2, 29, 12, 0, 0, 1),
    at=datetime(2024, 2, 29, 12, tzinfo=UTC),
    id=UUID(int=7),
    colour=Colour.BLUE,
    tags=["a", "b"],
    scores={"x": 1},
    address=Address(city="Bern", code=3000),
    either=Company(address=Address(city="Basel")),
)


def test_plain_fastavro_reads_what_is_written_with_its_logical_types() -> None:
    codec = MessageCodec(Everything, "bank.everything", MemorySchemaStore())
    body = codec.encode(EVERYTHING)[10:]
    assert fastavro.schemaless_reader(io.BytesIO(body), fastavro.parse_schema(codec.schema.full)) == {
        "text": "ü",
        "number": -1,
        "ratio": 0.5,
        "flag": True,
        "raw": b"\x00\xff",
        "amount": Decimal("-12.34"),
        "day": date(1969, 12, 31),
        "local": datetime(2024, 2, 29, 12, 0, 0, 1),
        "at": "2024-02-29T12:00:00+00:00",
        "id": UUID(int=7),
        "colour": "BLUE",
        "tags": ["a", "b"],
        "scores": {"x": 1},
        "address": {"city": "Bern", "code": 3000},
        "either": {"address": {"city": "Basel", "code": None}, "kind": "company"},
        "note": None,
    }


def test_what_plain_fastavro_writes_is_read() -> None:
    codec = MessageCodec(Everything, "bank.everything", MemorySchemaStore())
    prefix = codec.encode(EVERYTHING)[:10]
    record = EVERYTHING.model_dump() | {"colour": "BLUE", "at": "2024-02-29T12:00:00+00:00"}
    record["either"] = ("bank.Company", record["either"])
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(codec.schema.full), record)
    assert codec.decode(prefix + buffer.getvalue()) == EVERYTHING


def test_a_decoded_message_is_like_one_that_was_made() -> None:
    codec = MessageCodec(Everything, "everything", MemorySchemaStore())
    found = codec.decode(codec.encode(EVERYTHING))
    assert found == EVERYTHING
    assert hash(found.address) == hash(EVERYTHING.address)
    assert repr(found.address) == repr(EVERYTHING.address)
    assert found.model_dump() == EVERYTHING.model_dump()
    assert found.model_dump_json(exclude={"raw"}) == EVERYTHING.model_dump_json(exclude={"raw"})
    assert found.model_copy(update={"number": 9}).number == 9
    assert found.model_copy(deep=True) == EVERYTHING
    assert Everything.model_validate(found) is found
    assert found.model_fields_set == set(Everything.model_fields)
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        found.number = 2  # type: ignore[misc]  # that is the point
    import pickle

    assert pickle.loads(pickle.dumps(found)) == EVERYTHING


def test_decoded_messages_share_nothing_that_can_be_changed() -> None:
    codec = codec_of(list[int])
    value = codec.encode(codec.model(field=[1]))
    one, other = codec.decode(value), codec.decode(value)
    one.field.append(2)
    one.model_fields_set.add("x")
    assert (other.field, other.model_fields_set) == ([1], {"field"})


def test_a_nan_is_no_obstacle_inside_containers() -> None:
    assert math.isnan(round_trip(dict[str, list[float | None]], {"a": [math.nan]})["a"][0])
