"""Flat records in machine code give the bytes and the messages of the reference codec, or leave the decision to it."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any
from uuid import UUID

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from eventsource.schemas import AvroSchema, Limits, SchemaText, message_schema
from eventsource.schemas.flat_records import flat_reader, flat_writer
from eventsource.schemas.loading import Loading
from eventsource.schemas.native_reading import RecordReader
from eventsource.schemas.native_writing import RecordWriter
from eventsource.schemas.reference import reference_reader, reference_writer
from eventsource.schemas.resolution import resolve

PREFIX = b"\xc3\x01prefixed"
LIMITS = Limits()
FELL_BACK = object()


class Colour(Enum):
    RED = "r"
    BLUE = "b"
    CRIMSON = "r"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


def decimals(digits: int, places: int) -> st.SearchStrategy[Decimal]:
    bound = 10**digits - 1
    plain = st.integers(-bound, bound).map(lambda unscaled: Decimal(unscaled).scaleb(-places, Context(prec=60)))
    other = ["0", "-0", "0.0", "-0.00", "1E-1"] if places else ["0", "-0", "5", "-7", "1E+1"]
    return plain | st.sampled_from(other).map(Decimal)


class Paid(BaseModel):
    model_config = ConfigDict(frozen=True)

    account: str
    cents: int
    final: bool
    rate: float
    proof: bytes
    at: datetime
    day: date
    took: timedelta
    by: UUID
    amount: Annotated[Decimal, Field(max_digits=18, decimal_places=2)]
    whole: Annotated[Decimal, Field(max_digits=5, decimal_places=0)]
    share: Annotated[Decimal, Field(max_digits=30, decimal_places=20)]
    fee: Annotated[Decimal, Field(max_digits=4, decimal_places=4)] | None
    colour: Colour
    other: Level | None
    note: str | None
    limit: int | None
    seen: datetime | None


PAID = Paid(
    account="ä-1",
    cents=-5,
    final=True,
    rate=0.5,
    proof=b"\0",
    at=datetime(2026, 11, 27, tzinfo=UTC),
    day=date(2026, 11, 27),
    took=timedelta(days=-1),
    by=UUID(int=5),
    amount=Decimal("-123.45"),
    whole=Decimal(99_999),
    share=Decimal("0.5"),
    fee=Decimal("0.0001"),
    colour=Colour.RED,
    other=None,
    note=None,
    limit=2**63 - 1,
    seen=datetime(2026, 11, 27, 1, tzinfo=UTC),
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
longs = st.integers(-(2**63), 2**63 - 1) | st.integers(-70, 70)
paid = st.builds(
    Paid.model_construct,
    account=texts,
    cents=longs,
    final=st.booleans(),
    rate=st.floats(),
    proof=st.binary(max_size=1_500),
    at=st.datetimes(timezones=st.just(UTC)),
    day=st.dates(),
    took=st.timedeltas(timedelta(microseconds=-(2**63)), timedelta(microseconds=2**63 - 1)),
    by=st.uuids(),
    amount=decimals(18, 2),
    whole=decimals(5, 0),
    share=decimals(30, 20),
    fee=st.none() | decimals(4, 4),
    colour=st.sampled_from(Colour),
    other=st.none() | st.sampled_from(Level),
    note=st.none() | texts,
    limit=st.none() | longs,
    seen=st.none() | st.datetimes(timezones=st.just(UTC)),
)


def fall_back(_: Any) -> Any:
    return FELL_BACK


class Codec:
    """The codec in machine code, and the reference, of one class."""

    def __init__(self, schema: AvroSchema, written: SchemaText | None = None) -> None:
        text = written or schema.text
        plan = resolve(schema.shape, text.schema(), schema.names)
        write, read = flat_writer(schema, PREFIX, LIMITS, fall_back), flat_reader(plan, len(PREFIX), LIMITS, fall_back)
        assert write is not None, "a flat record is written in machine code"
        assert read is not None, "a flat record is read in machine code"
        self.write, self.read = write, read
        self.reference_write = reference_writer(schema.text.schema(), schema.dumping.dump, PREFIX, LIMITS)
        self.reference_read = reference_reader(text.schema(), Loading(plan).load, len(PREFIX), LIMITS)

    def agree(self, value: bytes) -> None:
        found = self.read(value)
        if found is not FELL_BACK:
            assert repr(found) == repr(self.reference_read(value))


CODEC = Codec(message_schema(Paid, "paid"))


@given(paid)
def test_every_byte_and_every_value_is_that_of_the_reference(value: Paid) -> None:
    written = CODEC.write(value)
    assert written == CODEC.reference_write(value)
    found = CODEC.read(written)
    assert found is not FELL_BACK
    assert repr(found) == repr(CODEC.reference_read(written))
    assert found.model_fields_set == set(Paid.model_fields)


@given(st.data())
def test_damaged_bytes_are_never_taken_for_another_message(data: st.DataObject) -> None:
    right = CODEC.reference_write(data.draw(paid))
    position = data.draw(st.integers(len(PREFIX), len(right)))
    cut = data.draw(st.integers(0, 3))
    CODEC.agree(right[:position] + data.draw(st.binary(max_size=10)) + right[position + cut :])
    CODEC.agree(PREFIX + data.draw(st.binary(max_size=60)))


def test_a_value_that_ends_early_is_left_to_the_reference() -> None:
    right = CODEC.write(PAID)
    for end in range(len(right)):
        assert CODEC.read(right[:end]) is FELL_BACK
    assert CODEC.read(right + b"\0") is FELL_BACK


class Number(BaseModel):
    number: int


@pytest.mark.parametrize(
    "body",
    [
        b"\x80\x00",  # zero in two bytes
        b"\xff" * 9 + b"\x02",  # 65 bits
        b"\xff" * 10 + b"\x01",
        b"\xff" * 9,
        b"",
    ],
    ids=repr,
)
def test_numbers_that_nobody_writes_are_left_to_the_reference(body: bytes) -> None:
    assert Codec(message_schema(Number, "number")).read(PREFIX + body) is FELL_BACK


class Text(BaseModel):
    text: str


@pytest.mark.parametrize(
    "body", [b"\x01", b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x02\xff", b"\x04a"], ids=repr
)
def test_lengths_and_texts_that_are_none_are_left_to_the_reference(body: bytes) -> None:
    assert Codec(message_schema(Text, "text")).read(PREFIX + body) is FELL_BACK


@pytest.mark.parametrize(
    "change",
    [
        {"account": 5},
        {"account": "\ud800"},
        {"cents": 2**63},
        {"cents": True},
        {"final": 1},
        {"rate": 1},
        {"proof": bytearray()},
        {"note": 5},
        {"by": "5"},
        {"seen": "now"},
        {"amount": 5},
        {"amount": Decimal("NaN")},
        {"amount": Decimal("0.001")},
        {"amount": Decimal(10**16)},
        {"whole": Decimal(100_000)},
        {"fee": Decimal(1)},
        {"colour": "r"},
        {"colour": Level.LOW},
        {"other": 1},
    ],
    ids=repr,
)
def test_a_value_that_does_not_fit_is_left_to_the_reference(change: dict[str, Any]) -> None:
    assert CODEC.write(PAID.model_copy(update=change)) is FELL_BACK


def test_another_class_and_a_field_that_is_missing_are_left_to_the_reference() -> None:
    class Child(Paid):
        pass

    assert CODEC.write(Child(**dict(PAID))) is FELL_BACK
    assert CODEC.write(Paid.model_construct(account="a")) is FELL_BACK
    assert CODEC.write(None) is FELL_BACK
    assert CODEC.read("text") is FELL_BACK  # type: ignore[arg-type]


def test_a_body_beyond_the_bound_is_left_to_the_reference() -> None:
    schema = message_schema(Text, "text")
    write = flat_writer(schema, PREFIX, Limits(body_bytes=2_000), fall_back)
    read = flat_reader(
        resolve(schema.shape, schema.text.schema(), schema.names), len(PREFIX), Limits(body_bytes=20), fall_back
    )
    assert write is not None
    assert read is not None
    long, longer = write(Text(text="x" * 1_900)), write(Text(text="x" * 2_000))
    assert len(long) == len(PREFIX) + 2 + 1_900
    assert longer is FELL_BACK
    assert read(long) is FELL_BACK


class Note(BaseModel):
    note: str | None


@pytest.mark.parametrize("body", [b"\x04\x02a", b"\x04", b"\x01", b"\0", b""], ids=repr)
def test_branches_that_are_none_are_left_to_the_reference(body: bytes) -> None:
    codec = Codec(message_schema(Note, "note"))
    assert codec.read(PREFIX + b"\0\x02a").note == "a"
    assert codec.read(PREFIX + b"\x02").note is None
    assert codec.read(PREFIX + body) is FELL_BACK


def test_what_is_read_shares_nothing() -> None:
    codec = Codec(message_schema(Note, "note"))
    one, other = codec.read(PREFIX + b"\x02"), codec.read(PREFIX + b"\x02")
    one.model_fields_set.clear()
    assert other.model_fields_set == {"note"}


class Amount(BaseModel):
    amount: Annotated[Decimal, Field(max_digits=4, decimal_places=2)]


@pytest.mark.parametrize("body", [b"\0", b"\x06\0\0\x05", b"\x04\x27\x10", b"\x04\0", b"\x02"], ids=repr)
def test_decimals_that_do_not_fit_are_left_to_the_reference(body: bytes) -> None:
    assert Codec(message_schema(Amount, "amount")).read(PREFIX + body) is FELL_BACK


def test_a_decimal_in_more_bytes_than_it_needs_is_read() -> None:
    codec = Codec(message_schema(Amount, "amount"))
    assert codec.read(PREFIX + b"\x04\0\x05") == codec.reference_read(PREFIX + b"\x04\0\x05")
    assert codec.read(PREFIX + b"\x04\xff\xfb").amount == Decimal("-0.05")


class Shade(BaseModel):
    colour: Colour


@pytest.mark.parametrize("body", [b"\x04", b"\x01", b"\x80\x01"], ids=repr)
def test_members_that_are_none_are_left_to_the_reference(body: bytes) -> None:
    assert Codec(message_schema(Shade, "shade")).read(PREFIX + body) is FELL_BACK


class Older(BaseModel):
    name: str
    gone: int | None = None
    dropped: str
    renamed: int


class Newer(BaseModel):
    renamed_since: float = Field(json_schema_extra={"aliases": ["renamed"]})
    added: str = "plain"
    name: str
    level: int | None = None


def test_what_an_older_version_wrote_is_read_with_what_was_dropped_renamed_and_added() -> None:
    older, newer = message_schema(Older, "m"), message_schema(Newer, "m")
    plan = resolve(newer.shape, older.text.schema(), newer.names)
    # What is passed over must be a primitive.
    assert flat_reader(plan, len(PREFIX), LIMITS, fall_back) is None

    class Old(BaseModel):
        name: str
        dropped: str
        renamed: int

    old = message_schema(Old, "m")
    codec = Codec(newer, old.text)
    written = reference_writer(old.text.schema(), old.dumping.dump, PREFIX, LIMITS)(
        Old(name="n", dropped="d", renamed=7)
    )
    found = codec.read(written)
    assert found == Newer(renamed_since=7.0, name="n")
    assert list(vars(found)) == ["renamed_since", "added", "name", "level"]
    assert found.model_fields_set == {"renamed_since", "name"}
    assert repr(found) == repr(codec.reference_read(written))
    wrong = written.replace(b"\x02d", b"\x02\xff")
    assert codec.read(wrong) is FELL_BACK


def test_what_is_not_flat_has_none() -> None:
    for annotation in (list[int], dict[str, int], int | str, int | str | None, Paid, tuple[int, int]):
        schema = message_schema(pydantic.create_model("Message", field=(annotation, ...)), "message")
        assert flat_writer(schema, PREFIX, LIMITS, fall_back) is None
        assert (
            flat_reader(resolve(schema.shape, schema.text.schema(), schema.names), len(PREFIX), LIMITS, fall_back)
            is None
        )


def test_more_fields_than_it_takes_are_refused() -> None:
    fields: dict[str, Any] = {f"f{number}": (int, ...) for number in range(65)}
    schema = message_schema(pydantic.create_model("Message", **fields), "message")
    assert flat_writer(schema, PREFIX, LIMITS, fall_back) is None
    plan = resolve(schema.shape, schema.text.schema(), schema.names)
    assert flat_reader(plan, len(PREFIX), LIMITS, fall_back) is None


@pytest.mark.parametrize("count", [3, 6, 12, 40])
def test_what_is_read_takes_no_more_memory_than_what_was_made(count: int) -> None:
    fields: dict[str, Any] = {f"f{number}": (int, ...) for number in range(count)}
    model = pydantic.create_model("Message", **fields)
    codec = Codec(message_schema(model, "message"))
    made = model(**dict.fromkeys(fields, 1))
    assert sys.getsizeof(vars(codec.read(codec.write(made)))) <= sys.getsizeof(vars(made))


def test_an_abstract_model_has_no_reader() -> None:
    class Abstract(BaseModel, ABC):
        number: int

        @abstractmethod
        def do(self) -> None: ...

    schema = message_schema(Abstract, "abstract")
    plan = resolve(schema.shape, schema.text.schema(), schema.names)
    assert flat_reader(plan, len(PREFIX), LIMITS, fall_back) is None


def test_null_may_come_first() -> None:
    schema = message_schema(pydantic.create_model("Message", field=(None | int, ...)), "message")
    codec = Codec(schema)
    for value in (None, 5):
        made = schema.shape.model(field=value)
        assert codec.write(made) == codec.reference_write(made)
        assert codec.read(codec.write(made)) == made


def test_what_a_conversion_is_interrupted_by_comes_through() -> None:
    def interrupt(_: Any) -> Any:
        raise KeyboardInterrupt

    write = RecordWriter(Number, [("number", "long", None, interrupt, -1, 0, 0)], PREFIX, 100, fall_back).write
    with pytest.raises(KeyboardInterrupt):
        write(Number(number=1))
    read = RecordReader(Number, [("long", interrupt, -1, 0, 0)], ("number",), {}, 0, 100, fall_back).read
    with pytest.raises(KeyboardInterrupt):
        read(b"\2")


def test_arguments_that_are_none_are_refused() -> None:
    with pytest.raises(TypeError):
        RecordReader(Number, [["long", None, -1, 0, 0]], ("number",), {}, 0, 10, fall_back)  # type: ignore[list-item]
    with pytest.raises(TypeError):
        RecordWriter(Number, [["number", "long", None, None, -1, 0, 0]], PREFIX, 10, fall_back)  # type: ignore[list-item]
    with pytest.raises(ValueError, match="skipped"):
        RecordReader(Number, [], (), {}, -1, 10, fall_back)


def test_a_reader_of_what_is_no_model_is_refused() -> None:
    with pytest.raises(TypeError, match="pydantic"):
        RecordReader(int, [], (), {}, 0, 10, fall_back)
    with pytest.raises(ValueError, match="twice"):
        RecordReader(Number, [("long", None, -1, 0, 0), ("long", None, -1, 0, 0)], ("number",), {}, 0, 10, fall_back)
