"""What does not fit is refused before a byte is written, and the error says where without saying what."""

from __future__ import annotations

import enum
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import pydantic
import pytest
from pydantic import BaseModel, Field

from eventsource.errors import DefinitionError, EncodeError, NoExactForm
from eventsource.schemas import Limits, MemorySchemaStore, MessageCodec, message_schema

Money = Annotated[Decimal, Field(max_digits=18, decimal_places=2)]


class Colour(enum.Enum):
    RED = 1


class Address(BaseModel):
    city: str


class Villa(Address):
    pool: bool


class Zoneless(tzinfo):
    def utcoffset(self, _: datetime | None) -> timedelta | None:
        return None


class Node(BaseModel):
    next: Node | None = None


def encode(annotation: Any, value: Any) -> bytes:
    model = pydantic.create_model("Message", field=(annotation, ...))
    return MessageCodec(model, "message", MemorySchemaStore()).encode(model.model_construct(field=value))


@pytest.mark.parametrize(
    ("annotation", "value", "text"),
    [
        (str, 1, r"^message\.field: str is needed, not int$"),
        (str, None, "str is needed, not NoneType"),
        (str, "\ud800", "message: a str holds a lone surrogate"),
        (int, 1 << 63, "the int does not fit into 64 bits"),
        (int, -(1 << 63) - 1, "the int does not fit into 64 bits"),
        (int, True, "int is needed, not bool"),
        (int, 1.0, "int is needed, not float"),
        (bool, 1, "bool is needed, not int"),
        (float, "1", "float is needed, not str"),
        (float, 2**53 + 1, "float is needed, not int"),
        (bytes, bytearray(b"x"), "bytes is needed, not bytearray"),
        (Money, Decimal("0.001"), "more than 18 digits or more than 2 behind the point"),
        (Money, Decimal("1E+16"), "more than 18 digits"),
        (Money, Decimal("1E+999999"), "more than 18 digits"),
        (Money, Decimal("NaN"), "the Decimal is not finite"),
        (Money, Decimal("sNaN"), "the Decimal is not finite"),
        (Money, Decimal("-Infinity"), "the Decimal is not finite"),
        (Money, 1.5, r"message\.field: the value is not what its type says \(TypeError\)"),
        (date, datetime(2024, 1, 1), "date is needed, not datetime"),
        (datetime, "2024", "the value is not what its type says"),
        (datetime, datetime(2024, 1, 1, tzinfo=Zoneless()), "gives no UTC offset would come back naive"),
        (datetime, datetime(2024, 1, 1, tzinfo=timezone(timedelta(microseconds=1))), "give it whole seconds"),
        (time, time(1, tzinfo=timezone(timedelta(microseconds=1))), "give it whole seconds"),
        (time, time(1, tzinfo=Zoneless()), "gives no UTC offset would come back naive"),
        (pydantic.NaiveDatetime, datetime(2024, 1, 1, tzinfo=UTC), "a naive datetime without fold is needed"),
        (pydantic.NaiveDatetime, datetime(2024, 1, 1, fold=1), "a naive datetime without fold is needed"),
        (timedelta, timedelta.max, "does not fit into 64 bits of microseconds"),
        (UUID, "x", "UUID is needed, not str"),
        (Colour, "RED", "Colour is needed, not str"),
        (list[int], (1,), "list is needed, not tuple"),
        (list[int], [1, "x"], "int is needed, not str"),
        (tuple[int, int], (1,), "tuple of 2 is needed, not tuple"),
        (set[int], frozenset({1}), "set is needed, not frozenset"),
        (dict[str, int], {1: 1}, "str is needed, not int"),
        (int | str, 1.5, r"int \| str is needed, not float"),
        (int | str, None, r"int \| str is needed, not NoneType"),
        (int | str | None, True, "int is needed, not bool"),
        (Address, {"city": "Bern"}, "Address is needed, not dict"),
        (Address, Villa(city="Bern", pool=True), "Villa, a subclass, would come back as Address: .* Address | Villa"),
        (Address | None, Villa(city="Bern", pool=True), "Villa, a subclass"),
        (Address | int, Villa(city="Bern", pool=True), "Villa, a subclass"),
        (Address, Address.model_construct(city=5), r"message\.field\.city: str is needed, not int"),
        (list[Address], [Address.model_construct(city=5)], r"message\.field\.city: str is needed, not int"),
        (Address, Address.model_construct(), r"message\.field\.city: it has no value: make messages"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_value_that_does_not_fit_names_message_field_and_type(annotation: Any, value: Any, text: str) -> None:
    with pytest.raises(EncodeError, match=text):
        encode(annotation, value)


def test_values_stay_out_of_errors() -> None:
    with pytest.raises(EncodeError) as caught:
        encode(int, "my secret")
    assert "secret" not in str(caught.value)


def test_a_message_of_another_class_is_refused() -> None:
    codec = MessageCodec(Address, "address", MemorySchemaStore())
    with pytest.raises(EncodeError, match="address: Address is needed, not Node"):
        codec.encode(Node())  # type: ignore[arg-type]  # that is the point
    with pytest.raises(EncodeError, match="Villa, a subclass"):
        codec.encode(Villa(city="Bern", pool=True))


def chain(length: int) -> Node:
    node = Node()
    for _ in range(length - 1):
        node = Node.model_construct(next=node)
    return node


@pytest.mark.parametrize("length", [65, 500, 5_000])
def test_what_nests_too_deep_to_be_read_again_is_not_written(length: int) -> None:
    codec = MessageCodec(Node, "node", MemorySchemaStore())
    assert codec.decode(codec.encode(chain(64))) == chain(64)
    with pytest.raises(EncodeError, match="nests"):
        codec.encode(chain(length))


def test_what_is_too_large_to_be_read_again_is_not_written() -> None:
    codec = MessageCodec(Address, "address", MemorySchemaStore(), limits=Limits(body_bytes=100))
    with pytest.raises(EncodeError, match="112 bytes are more than the 100"):
        codec.encode(Address(city="x" * 100))


def test_a_default_that_is_no_value_of_its_type_is_found_at_definition() -> None:
    class Message(BaseModel):
        name: str = None  # type: ignore[assignment]  # a common slip

    with pytest.raises(
        NoExactForm, match=r"Message\.name: its default is not a value of its type \(str is needed, not None"
    ):
        message_schema(Message, "message")


def test_a_record_name_that_avro_does_not_know_is_refused() -> None:
    assert message_schema(Address, "bank.moved-out").text.name == "bank.moved_out"
    for name in ("", "1st", "a b", "größe", "a..b", 'x"'):
        with pytest.raises(DefinitionError, match="is not valid in Avro"):
            message_schema(Address, name)


def test_a_message_named_like_a_class_in_it_is_refused() -> None:
    model = pydantic.create_model("Message", address=(Address, ...))
    with pytest.raises(NoExactForm, match="two things in it would be named Address"):
        message_schema(model, "Address")
