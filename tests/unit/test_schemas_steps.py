"""What a foreign schema costs: steps in proportion to its text, whatever its references lead to."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from eventsource.errors import DecodeError
from eventsource.schemas import Limits, MemorySchemaStore, MessageCodec, SchemaText
from eventsource.schemas.fingerprint import canonical_form

STEPS_PER_BYTE = 400
"""Lines of Python for a byte of a schema's text, from the text to a reader; the plainest schemas take a tenth of it."""


class Node(BaseModel):
    value: int = 0
    left: Node | None = None
    right: Node | None = None


class Pairs(BaseModel):
    pairs: tuple[tuple[tuple[tuple[int, int], int], int], int] = ((((0, 0), 0), 0), 0)


class Nothing(BaseModel):
    pass


CODECS = [MessageCodec(model, "message", MemorySchemaStore()) for model in (Node, Pairs, Nothing)]


def steps(function: Callable[[], object], most: int) -> int:
    """How many lines of Python it runs; it is given up beyond `most`."""
    count = 0

    def trace(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        if event == "line":
            count += 1
            if count > most:
                raise TimeoutError(f"more than {most} steps")
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    except DecodeError:
        pass
    finally:
        sys.settrace(before)
    return count


def text_of(schema: Any) -> bytes:
    return canonical_form(schema).encode()


def read_with(text: bytes) -> None:
    """What a worker does about a record whose schema this is."""
    schema = SchemaText.parse(text)
    for codec in CODECS:
        store = MemorySchemaStore()
        store.register(schema)
        codec._store = store
        codec._readers.clear()
        prefix = b"\xc3\x01" + schema.fingerprint.to_bytes(8, "little")
        with pytest.raises(DecodeError):
            codec.decode(prefix + b"\xff" * 11)


def record(name: str, **fields: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": key, "type": kind} for key, kind in fields.items()]}


def doubling(count: int) -> Any:
    """Each record refers to the one before twice: 2**count ways lead through it."""
    inner: list[Any] = [record("r0")]
    inner += [record(f"r{number}", a=f"r{number - 1}", b=f"r{number - 1}") for number in range(1, count)]
    return record("message", **{f"f{number}": kind for number, kind in enumerate(inner)})


def doubling_or_null(count: int) -> Any:
    """The same where each reference may be left out, so that a value is small."""
    schema = doubling(count)
    for field in schema["fields"]:
        for inner in field["type"]["fields"]:
            inner["type"] = ["null", inner["type"]]
    return schema


def doubling_in_arrays(count: int) -> Any:
    schema = doubling(count)
    schema["fields"].append({"name": "items", "type": {"type": "array", "items": f"r{count - 1}"}})
    return schema


def doubling_nodes(count: int) -> Any:
    """Records that a class which refers to itself may be read from, each of another namespace."""
    inner: list[Any] = [record("n0.Node", value="int")]
    inner += [
        record(
            f"n{number}.Node", value="int", left=["null", f"n{number - 1}.Node"], right=["null", f"n{number - 1}.Node"]
        )
        for number in range(1, count)
    ]
    schema = record("message", **{f"f{number}": kind for number, kind in enumerate(inner)})
    schema["fields"].append({"name": "left", "type": ["null", f"n{count - 1}.Node"]})
    return schema


def tuples_in_unions(count: int) -> Any:
    """Unions of records that a tuple may be read from, at each of its levels."""
    levels: list[list[str]] = []
    inner: dict[str, Any] = {}
    for level in range(4):
        names = [f"t{level}_{number}" for number in range(count)]
        for name in names:
            inner[name] = record(name, _0=levels[-1] if levels else "int", _1="int")
        levels.append(names)
    return record("message", **inner, pairs=levels[-1])


def cycle(count: int) -> Any:
    inner = {f"r{number}": record(f"r{number}", a=["null", f"r{(number - 1) % count}"]) for number in range(count)}
    first = inner["r0"]
    first["fields"][0]["type"] = "null"
    return record("message", **inner)


def wide(count: int) -> Any:
    return record(
        "message", **{f"f{number}": ["null", "string", {"type": "long", "logicalType": "x"}] for number in range(count)}
    )


def many_refusals(count: int) -> Any:
    names = [f"e{number}" for number in range(count)]
    enums = {name: {"type": "enum", "name": name, "symbols": ["A"]} for name in names}
    return record("message", **enums, value=names, left=names)


FAMILIES = [
    doubling,
    doubling_or_null,
    doubling_in_arrays,
    doubling_nodes,
    tuples_in_unions,
    cycle,
    wide,
    many_refusals,
]


@pytest.mark.parametrize("count", [30, 200])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_a_schema_costs_steps_in_proportion_to_its_text(family: Callable[[int], Any], count: int) -> None:
    text = text_of(family(count))
    most = STEPS_PER_BYTE * len(text)
    assert steps(lambda: read_with(text), most) <= most


@settings(max_examples=60, deadline=None, database=None)
@given(st.data())
def test_no_schema_of_random_references_costs_more(data: st.DataObject) -> None:
    """Property: records whose fields refer to any records, in unions, arrays and maps, in cycles and out of them."""
    count = data.draw(st.integers(1, 25))
    names = [f"r{number}" for number in range(count)]
    kinds = st.one_of(
        st.sampled_from(["null", "int", "string", *names]),
        st.sampled_from(names).map(lambda name: ["null", name]),
        st.sampled_from(["null", *names]).map(lambda name: {"type": "array", "items": name}),
        st.sampled_from(names).map(lambda name: {"type": "map", "values": name}),
    )
    inner = {}
    for name in names:
        fields = data.draw(st.lists(kinds, max_size=4))
        inner[name] = record(name, **{f"f{number}": kind for number, kind in enumerate(fields)})
    # Avro allows a reference only after what it refers to: an empty union of all is what defines them in any order here.
    text = text_of(record("message", **inner, left=["null", data.draw(st.sampled_from(names))]))
    most = STEPS_PER_BYTE * len(text) + 20_000
    assert steps(lambda: read_with(text), most) <= most


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 100_000,
        b'{"type":"record","name":"a","fields":[]}' + b"{" * 9_000,
        b'{"name":"a","type":"fixed","size":Infinity}',
        b'{"name":"a","type":"fixed","size":1e999}',
        b'{"name":"a","type":"record","fields":[{"name":"x","type":' + b"9" * 5_000 + b"}]}",
        b'{"name":"\\ud800","type":"record","fields":[]}',
        b"\xff\xfe",
        b"",
        b"null",
        b'"string"',
        b"[]",
        b"{}",
    ],
    ids=lambda text: text[:24].decode(errors="replace"),
)
def test_a_text_that_is_no_schema_is_refused(text: bytes) -> None:
    with pytest.raises(DecodeError):
        SchemaText.parse(text)


def test_brackets_in_strings_neither_hide_depth_nor_make_any() -> None:
    hidden = b'{"name":"' + b"]" * 5_000 + b'","type":' + b"[" * 5_000 + b"]" * 5_000 + b"}"
    with pytest.raises(DecodeError, match="nests deeper"):
        SchemaText.parse(hidden)
    with pytest.raises(DecodeError, match=r"no Avro schema|canonical"):
        SchemaText.parse(b'{"name":"' + b"[" * 5_000 + b'"}')


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ({"type": "bytes", "logicalType": "decimal", "precision": 10**9, "scale": 2}, "digits"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 10**9}, "digits|no Avro schema"),
        ({"type": "bytes", "logicalType": "decimal"}, "without precision"),
        ({"type": "string", "logicalType": ["x"]}, "logical type"),
        ({"name": "f", "type": "fixed", "size": 1 << 40}, "size"),
        ({"name": "f", "type": "fixed", "size": -1}, "size"),
        (["null", ["int"]], "union"),
        (["string", {"type": "string", "logicalType": "uuid"}], "union"),
        ([], "union"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_type_that_avro_does_not_allow_is_refused(kind: Any, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        SchemaText.parse(text_of(record("message", field=kind)))


def test_two_fields_of_one_name_are_refused() -> None:
    schema = record("message", a="int")
    schema["fields"] *= 2
    with pytest.raises(DecodeError, match="two fields of one name"):
        SchemaText.parse(text_of(schema))


def test_a_schema_is_bounded_in_size_depth_types_and_names() -> None:
    for family, limits in [
        (wide(50), Limits(schema_bytes=1_000)),
        (wide(50), Limits(schema_depth=3)),
        (wide(50), Limits(schema_types=40)),
        (doubling_or_null(50), Limits(schema_names=40)),
        (doubling(10), Limits(record_parts=500)),
    ]:
        text = text_of(family)
        SchemaText.parse(text)
        with pytest.raises(DecodeError, match="read"):
            SchemaText.parse(text, limits)


def test_records_that_take_no_byte_are_found_through_any_references() -> None:
    schema = record("message", a=record("a", x="null", y=["null", "int"]), b=record("b", x="null", y="null"))
    for name, refused in (("a", False), ("b", True), ("null", True)):
        items = {"type": "array", "items": name}
        text = text_of(record("message", **{f["name"]: f["type"] for f in schema["fields"]}, items=items))
        if refused:
            with pytest.raises(DecodeError, match="items take no byte"):
                SchemaText.parse(text)
        else:
            SchemaText.parse(text)
    assert json.loads(SchemaText.parse(text_of(schema)).text) == json.loads(text_of(schema))
