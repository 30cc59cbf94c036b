"""Canonical texts, fingerprints, and schemas that somebody else wrote."""

from __future__ import annotations

import json
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any

import fastavro
import pytest
from fastavro.schema import to_parsing_canonical_form
from pydantic import BaseModel, Field

from eventsource.errors import DecodeError
from eventsource.schemas import Limits, SchemaText, message_schema
from eventsource.schemas.fingerprint import canonical_form, fingerprint, without_logical_types

NESTED: dict[str, Any] = {
    "type": "record",
    "name": "Root",
    "namespace": "a.b",
    "doc": "dropped",
    "fields": [
        {"name": "self", "type": ["null", "Root"], "default": None, "order": "ignore"},
        {"name": "colour", "type": {"type": "enum", "name": "Colour", "symbols": ["R", "G"], "default": "R"}},
        {"name": "again", "type": {"type": "array", "items": "Colour"}, "aliases": ["x"]},
        {"name": "digest", "type": {"type": "fixed", "name": "c.Digest", "size": 16}},
        {"name": "map", "type": {"type": "map", "values": {"type": "string"}}},
        {"name": "inner", "type": {"type": "record", "name": "Inner", "namespace": "c", "fields": []}},
    ],
}


# https://github.com/apache/avro/blob/main/share/test/data/schema-tests.txt
@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ('"null"', 7195948357588979594),
        ('"boolean"', -6970731678124411036),
        ('"int"', 8247732601305521295),
        ('"long"', -3434872931120570953),
        ('"float"', 5583340709985441680),
        ('"double"', -8181574048448539266),
        ('"bytes"', 5746618253357095269),
        ('"string"', -8142146995180207161),
        ("[]", -1241056759729112623),
        ('{"fields":[], "type":"record", "name":"foo"}', -4824392279771201922),
        ('{"type":"enum", "name":"foo", "symbols":["A1"]}', -6342190197741309591),
        ('{"name":"foo","type":"fixed","size":15}', 1756455273707447556),
    ],
)
def test_fingerprints_are_those_of_the_specifications_test_vectors(schema: str, expected: int) -> None:
    text = canonical_form(json.loads(schema), keep=())
    assert fingerprint(text) == expected % (1 << 64)
    assert fingerprint(canonical_form(json.loads(schema))) == expected % (1 << 64)


def test_the_fingerprint_of_int_is_the_specifications() -> None:
    assert fingerprint('"int"') == 0x7275D51A3F395C8F


def test_without_logical_types_the_form_is_the_specifications() -> None:
    assert canonical_form(NESTED, keep=()) == to_parsing_canonical_form(fastavro.parse_schema(NESTED))
    assert canonical_form(without_logical_types(NESTED)) == canonical_form(NESTED, keep=())


def test_the_canonical_form_of_a_canonical_form_is_itself() -> None:
    text = canonical_form(NESTED)
    assert canonical_form(json.loads(text)) == text


def schema_of(annotation: Any) -> SchemaText:
    from pydantic import create_model

    return message_schema(create_model("Message", field=(annotation, ...)), "message").text


def test_scale_precision_and_logical_type_make_another_fingerprint() -> None:
    from datetime import datetime, timedelta

    texts = [
        schema_of(annotation)
        for annotation in (
            Annotated[Decimal, Field(max_digits=18, decimal_places=2)],
            Annotated[Decimal, Field(max_digits=18, decimal_places=4)],
            Annotated[Decimal, Field(max_digits=20, decimal_places=2)],
            bytes,
            int,
            timedelta,
            str,
            datetime,
        )
    ]
    assert len({text.fingerprint for text in texts}) == len(texts)


def test_defaults_and_aliases_change_the_readers_schema_but_not_the_text() -> None:
    class Message(BaseModel):
        count: int

    plain = message_schema(Message, "message")

    class Message(BaseModel):  # type: ignore[no-redef]  # the same class, later
        count: int = Field(7, json_schema_extra={"aliases": ["number"]})

    later = message_schema(Message, "message", ("old-message",))
    assert later.text == plain.text
    assert later.full == {
        "type": "record",
        "name": "message",
        "aliases": ["old_message"],
        "fields": [{"name": "count", "type": "long", "aliases": ["number"], "default": 7}],
    }


class Colour(Enum):
    RED = 1


class Inner(BaseModel):
    amount: Annotated[Decimal, Field(max_digits=6, decimal_places=2)] = Decimal("-1.28")


class Defaults(BaseModel):
    raw: bytes = b"\xff"
    none: str | None = None
    text: str | None = "x"
    colour: Colour = Colour.RED
    inner: Inner = Inner()
    many: list[Inner] = [Inner()]
    pairs: dict[str, int] = {"a": 1}
    ratio: float = float("inf")
    made: list[int] = Field(default_factory=list)
    deep: list[int | str | None] = ["x"]


def test_defaults_are_spelled_as_avro_wants_them_or_left_out() -> None:
    schema = message_schema(Defaults, "bank.defaults")
    fields = {field["name"]: field.get("default", "left out") for field in schema.full["fields"]}
    assert fields == {
        "raw": "\u00ff",
        "none": None,
        "text": "x",
        "colour": "RED",
        "inner": {"amount": "\u0080"},
        "many": [{"amount": "\u0080"}],
        "pairs": {"a": 1},
        "ratio": "left out",
        "made": "left out",
        "deep": "left out",
    }
    fastavro.parse_schema(schema.full)
    assert schema.full["fields"][2]["type"] == ["string", "null"]


def test_a_schema_of_our_own_is_taken_back() -> None:
    text = message_schema(Defaults, "bank.defaults").text
    assert SchemaText.parse(text.text.encode()) == text
    assert text.name == "bank.defaults"
    assert text.hex == f"{text.fingerprint:016x}"


GOOD = '{"name":"m","type":"record","fields":[{"name":"f","type":"long"}]}'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no Avro schema"),
        ("nonsense", "no Avro schema"),
        ("\ufeff{}", "no Avro schema"),
        ("{}", "no Avro schema"),
        ('"long"', "not a record's"),
        ('["null","long"]', "not a record's"),
        (GOOD.replace("long", "lang"), "no Avro schema"),
        (GOOD.replace('"long"', "null"), "no Avro schema"),
        (GOOD.replace('"f"', '"f-g"'), "a name that Avro does not allow"),
        (GOOD.replace('"f"', '"x\\"+__import__(\\"os\\")+\\""'), "a name that Avro does not allow"),
        (GOOD.replace(":", ": "), "not in canonical form"),
        (GOOD.replace('"type":"long"', '"type":"long","default":1'), "not in canonical form"),
        (GOOD.replace('"long"', '{"type":"array","items":"null"}'), "array whose items take no byte"),
        (GOOD.replace('"long"', '{"type":"array","items":{"name":"e","type":"record","fields":[]}}'), "take no byte"),
        (GOOD.replace('"long"', "[" * 100 + "]" * 100), "deeper than the 64 levels"),
        ("[" * 100_000, "deeper than the 64 levels"),
        (GOOD + " " * 300_000, "larger than"),
    ],
    ids=lambda text: text[:40],
)
def test_a_schema_that_could_not_be_ours_is_refused(text: str, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        SchemaText.parse(text.encode())


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(DecodeError, match="no Avro schema"):
        SchemaText.parse(GOOD.encode().replace(b'"f"', b'"\xff"'))


def test_the_bounds_of_a_schema_can_be_moved() -> None:
    with pytest.raises(DecodeError, match="larger than the 10"):
        SchemaText.parse(GOOD.encode(), Limits(schema_bytes=10))
    assert SchemaText.parse(GOOD.encode()).name == "m"
