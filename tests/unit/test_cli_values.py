"""Every value of every type that a message or a state may hold prints, as JSON and for people."""

from __future__ import annotations

import base64
import collections
import dataclasses
import enum
import json
import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, Self
from uuid import UUID

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from eventsource import Aggregate, Event, creates
from eventsource.cli.output import printable
from eventsource.cli.values import json_form, json_text, plain_text


class Colour(enum.Enum):
    RED = "r"
    ODD = (1, 2)
    RAW = b"\xff"


class Level(enum.IntEnum):
    LOW = 1


class Word(enum.StrEnum):
    YES = "yes"


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)
    value: Any
    other: Any = None

    @pydantic.field_serializer("value")
    def _breaks(self, value: object) -> object:
        raise ValueError("a serializer of the user's is not asked")


@dataclasses.dataclass(frozen=True)
class Point:
    value: Any


offsets = st.integers(-86_399, 86_399).map(lambda seconds: timezone(timedelta(seconds=seconds)))
texts = st.text(st.characters(), max_size=8)  # lone surrogates and control characters among them
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**80, 2**63])
    | st.integers(4_000, 5_000).map(lambda digits: 10**digits)
    | st.floats()
    | texts
    | st.binary(max_size=8)
    | st.decimals()
    | st.dates()
    | st.times(timezones=st.none() | offsets)
    | st.datetimes(timezones=st.none() | offsets)
    | st.timedeltas()
    | st.uuids()
    | st.sampled_from([*Colour, *Level, *Word])
)


def hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:  # a signaling NaN
        return False
    return True


keys = (
    scalars | st.tuples(scalars, scalars) | st.frozensets(st.integers(), max_size=2) | st.builds(Point, scalars)
).filter(hashable)
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.sets(keys, max_size=3)
        | st.dictionaries(keys, inner, max_size=3)
        | st.builds(Model, value=inner, other=inner)
        | st.builds(Point, inner)
    ),
    max_leaves=8,
)


def strict(text: str) -> Any:
    """What any JSON reader makes of it, or a failure."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse, parse_int=lambda digits: digits)


@given(values, st.sampled_from([None, 2]), st.sampled_from(["utf-8", "ascii", "latin-1"]))
def test_every_value_is_json_that_steers_no_terminal(value: Any, indent: int | None, encoding: str) -> None:
    text = json_text(value, indent=indent, encoding=encoding)
    strict(text)
    text.encode(encoding)
    assert all(line.isprintable() for line in text.split("\n"))
    assert indent or "\n" not in text


@given(values)
def test_every_value_is_one_line_for_people_that_steers_no_terminal(value: Any) -> None:
    assert printable(value).isprintable()


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (b"\xff\xfe\xff", "__7_"),
        (b"text", "dGV4dA=="),
        (bytearray(b"\x00"), "AA=="),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (-0.0, -0.0),
        (2**80, 2**80),
        (True, True),
        (Decimal("1.10"), "1.10"),
        (Decimal("NaN"), "NaN"),
        (datetime(2026, 1, 2, 3, tzinfo=UTC), "2026-01-02T03:00:00+00:00"),
        (datetime(2026, 1, 2, 3), "2026-01-02T03:00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (time(1, 2, 3), "01:02:03"),
        (timedelta(days=-1, microseconds=1), "-PT23H59M59.999999S"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (Colour.RED, "r"),
        (Colour.ODD, "ODD"),
        (Colour.RAW, "RAW"),
        (Level.LOW, 1),
        (Word.YES, "yes"),
        ((1, (2,)), [1, [2]]),
        ({3, 1, 2}, [1, 2, 3]),
        (collections.deque([1]), [1]),
        ({"b": 1, "a": 2}, {"b": 1, "a": 2}),
        ({1: "one", None: "none"}, {"1": "one", "null": "none"}),
        ({1: "number", "1": "text"}, [{"key": 1, "value": "number"}, {"key": "1", "value": "text"}]),
        ({(1, 2): 3}, [{"key": [1, 2], "value": 3}]),
        (Model(value=b"\xff", other=Point(math.nan)), {"value": "_w==", "other": {"value": "NaN"}}),
    ],
)
def test_the_form_of_each_type_is_the_documented_one(value: object, form: object) -> None:
    assert json_form(value) == form
    assert type(json_form(value)) is type(form)


def test_an_int_that_python_writes_in_no_digits_is_a_string_of_hexadecimal_ones() -> None:
    assert json_form(16**4_000) == "0x1" + "0" * 4_000


def test_what_refers_to_itself_or_fails_keeps_nothing_else_from_being_shown() -> None:
    class Broken:
        def __str__(self) -> str:
            raise ZeroDivisionError

    loop: list[Any] = [1]
    loop.append(loop)
    assert json_form({"loop": loop, "broken": Broken(), "fine": 1})["fine"] == 1
    assert json_form(Broken()) == "<Broken>"
    strict(json_text(loop))
    assert "…" in json_text(loop)


def test_an_event_and_an_aggregate_are_objects_of_their_fields() -> None:
    class Opened(Event, name="opened"):
        owner: str
        key: bytes = b""

    class Box(Aggregate, name="box"):
        owner: str
        keys: set[bytes] = dataclasses.field(default_factory=set)

        @creates
        @classmethod
        def on_opened(cls, event: Opened) -> Self:
            return cls(owner=event.owner)

    assert json_form(Opened(owner="me", key=b"\xff")) == {"owner": "me", "key": "_w=="}
    assert json_form(Box(owner="me", keys={b"\xff"})) == {"owner": "me", "keys": ["_w=="]}


def test_bytes_of_json_come_back() -> None:
    assert base64.urlsafe_b64decode(json_form(bytes(range(256)))) == bytes(range(256))


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), ("a b", "a b"), (7, "7"), ({"a": ["b"]}, '{"a": ["b"]}'), (b"\xff", "_w==")]
)
def test_people_see_the_json_without_quotes(value: object, text: str) -> None:
    assert plain_text(value) == text
