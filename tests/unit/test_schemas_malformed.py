"""Bytes that are not what they claim: refused, quickly, and at no cost in memory or stack."""

from __future__ import annotations

import time
import tracemalloc
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from eventsource.errors import DecodeError, UnknownFingerprint
from eventsource.schemas import Limits, MemorySchemaStore, MessageCodec

Money = Annotated[Decimal, Field(max_digits=18, decimal_places=2)]


class Colour(Enum):
    RED = 1
    BLUE = 2


class Line(BaseModel):
    text: str
    amount: Money


class Message(BaseModel):
    text: str
    raw: bytes
    amount: Money
    at: datetime
    id: UUID
    colour: Colour
    lines: list[Line]
    labels: dict[str, int]
    note: str | int | Line | None


class Node(BaseModel):
    value: int
    next: Node | None = None
    children: list[Node] = []


class Tree(BaseModel):
    texts: list[str] = []
    branches: list[Tree] = []


class Texts(BaseModel):
    texts: list[str] = []


class Labels(BaseModel):
    labels: dict[str, int] = {}


CODEC = MessageCodec(Message, "message", MemorySchemaStore())
NODES = MessageCodec(Node, "node", MemorySchemaStore())
VALUE = CODEC.encode(
    Message(
        text="text",
        raw=b"raw",
        amount=Decimal("1.00"),
        at=datetime(2024, 1, 1),
        id=UUID(int=1),
        colour=Colour.BLUE,
        lines=[Line(text="a", amount=Decimal("2.00"))],
        labels={"x": 1},
        note=Line(text="b", amount=Decimal("3.00")),
    )
)


def varint(value: int) -> bytes:
    value = (value << 1) ^ (value >> 63)
    found = bytearray()
    while value & ~0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


@pytest.mark.parametrize("end", range(len(VALUE)))
def test_a_value_that_ends_early_is_refused(end: int) -> None:
    with pytest.raises((DecodeError, UnknownFingerprint)):
        CODEC.decode(VALUE[:end])


def test_bytes_left_over_are_refused() -> None:
    with pytest.raises(DecodeError, match="message: bytes are left over behind the message"):
        CODEC.decode(VALUE + b"\x00")


@pytest.mark.parametrize("value", [b"", b"{}", b"\x00\x00\x00\x00\x01abcdef", b"\xc3\x02" + VALUE[2:], b"\xc3\x01\x00"])
def test_a_value_in_another_encoding_is_refused(value: bytes) -> None:
    with pytest.raises(DecodeError, match="does not begin with C3 01 and a schema's fingerprint"):
        CODEC.decode(value)


@settings(max_examples=150, deadline=None, database=None)
@given(st.integers(10, len(VALUE) - 1), st.binary(min_size=1, max_size=12))
def test_damaged_bytes_are_refused_or_read_as_a_message(position: int, damage: bytes) -> None:
    value = VALUE[:position] + damage + VALUE[position + len(damage) :]
    try:
        assert type(CODEC.decode(value)) is Message
    except DecodeError as error:
        assert str(error).startswith("message")  # noqa: PT017  # either outcome is right


@pytest.mark.parametrize("count", [2**40, 2**62, -(2**40), -(2**63) + 1])
@pytest.mark.parametrize("model", [Texts, Labels], ids=lambda model: model.__name__)
def test_a_huge_count_costs_neither_time_nor_memory(model: type[BaseModel], count: int) -> None:
    codec = MessageCodec(model, "message", MemorySchemaStore())
    prefix = codec.encode(model())[:10]
    tracemalloc.start()
    started = time.perf_counter()
    with pytest.raises(DecodeError):
        codec.decode(prefix + varint(count) + b"\x00\x00")
    assert time.perf_counter() - started < 1
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("length", [2**40, 2**62, -1, -(2**62)])
def test_a_huge_or_negative_length_is_refused(length: int) -> None:
    prefix = VALUE[:10]
    with pytest.raises(DecodeError):
        CODEC.decode(prefix + varint(length) + b"text")


def test_a_number_without_end_is_refused() -> None:
    with pytest.raises(DecodeError):
        CODEC.decode(VALUE[:10] + b"\xff" * 1_000)


def test_a_body_that_nests_without_end_is_refused_before_it_is_followed() -> None:
    prefix = NODES.encode(Node(value=1))[:10]
    # value 0, next: the branch after null, and so on
    with pytest.raises(DecodeError, match="node: the message nests deeper than 64 levels"):
        NODES.decode(prefix + b"\x00\x02" * 100_000)
    # value 0, no next, one child, and so on
    with pytest.raises(DecodeError, match="nests deeper than 64 levels"):
        NODES.decode(prefix + b"\x00\x00\x02" * 100_000)
    assert NODES.decode(NODES.encode(Node(value=1, next=Node(value=2)))).next == Node(value=2)


@settings(max_examples=50, deadline=None, database=None)
@given(st.binary(max_size=40))
def test_any_bytes_of_a_recursive_schema_are_refused_or_read(body: bytes) -> None:
    prefix = NODES.encode(Node(value=1))[:10]
    try:
        assert type(NODES.decode(prefix + body)) is Node
    except DecodeError as error:
        assert str(error).startswith("node")  # noqa: PT017  # either outcome is right


def test_a_negative_length_does_not_walk_in_circles() -> None:
    codec = MessageCodec(Tree, "tree", MemorySchemaStore())
    prefix = codec.encode(Tree())[:10]
    started = time.perf_counter()
    with pytest.raises(DecodeError):
        codec.decode(prefix + varint(5_000_000) + varint(-1))
    assert time.perf_counter() - started < 0.5


def test_a_body_beyond_the_bound_is_refused_unread() -> None:
    codec = MessageCodec(Texts, "message", MemorySchemaStore(), limits=Limits(body_bytes=50))
    prefix = codec.encode(Texts())[:10]
    with pytest.raises(DecodeError, match="110 bytes are more than the 50 that are read"):
        codec.decode(prefix + b"\x00" * 100)


@pytest.mark.parametrize(
    ("unscaled", "text"),
    [
        (b"\x7f" * 100_000, "a Decimal of 100000 bytes is longer than 18 digits take"),
        (b"\x7f" * 9, "a Decimal of 9 bytes is longer"),
        (b"\x7f" * 8, "a Decimal has more than the 18 digits"),
        ((10**18).to_bytes(8, "big"), "a Decimal has more than the 18 digits"),
    ],
    ids=len,
)
def test_a_decimal_of_more_digits_than_its_schema_states_is_refused(unscaled: bytes, text: str) -> None:
    class Price(BaseModel):
        amount: Money

    codec = MessageCodec(Price, "price", MemorySchemaStore())
    prefix = codec.encode(Price(amount=Decimal(1)))[:10]
    with pytest.raises(DecodeError, match=rf"price\.amount: {text}"):
        codec.decode(prefix + varint(len(unscaled)) + unscaled)


def test_text_that_is_no_time_is_refused_with_its_field() -> None:
    class Seen(BaseModel):
        at: datetime

    codec = MessageCodec(Seen, "seen", MemorySchemaStore())
    prefix = codec.encode(Seen(at=datetime(2024, 1, 1)))[:10]
    for text in (b"yesterday", b"[fold=1]", b""):
        with pytest.raises(DecodeError, match=r"seen\.at: the value is not what its type says"):
            codec.decode(prefix + varint(len(text)) + text)
