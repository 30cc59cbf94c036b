"""A rejection's union is accepted only where every value of every member comes back as it was."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from ipaddress import IPv4Address
from itertools import combinations
from typing import Annotated, Any, Literal, NotRequired, Union
from uuid import UUID

import pytest
from pydantic import AfterValidator, BaseModel, Field
from typing_extensions import TypeAliasType, TypedDict

from eventsource import Rejected
from eventsource.errors import DefinitionError


class Colour(Enum):
    RED = "red"
    TEN = "10"


class Size(Enum):
    SMALL = 1
    LARGE = 2


class Level(IntEnum):
    LOW = 1


class Mixed(Enum):
    ONE = 1
    TEXT = "text"


class Point(BaseModel):
    x: int


@dataclass
class Pair:
    x: int


class Shape(TypedDict):
    x: NotRequired[int]


class Circle(BaseModel):
    kind: Literal["circle"] = "circle"
    radius: int


class Square(BaseModel):
    kind: Literal["square"] = "square"
    side: int


Either = Annotated[Circle | Square, Field(discriminator="kind")]

# Each type with values that another may be taken for.
VALUES: dict[Any, list[Any]] = {
    None: [None],
    bool: [True, False],
    int: [0, 1, -5, 10, 2**70],
    float: [0.0, 1.0, 10.0, 0.5, -2.5, float("inf"), 1e22],
    str: ["", "1", "1.50", "red", "true", "null", "Infinity", "2024-01-01", "P1D", "MQ==", str(UUID(int=7))],
    bytes: [b"", b"1", b"red", b"\xff\xfe"],
    Decimal: [Decimal("1"), Decimal("1.50"), Decimal("10")],
    date: [date(2024, 1, 1)],
    datetime: [datetime(2024, 1, 1), datetime(2024, 1, 1, 12, 30, tzinfo=UTC)],
    time: [time(12, 30)],
    timedelta: [timedelta(0), timedelta(days=1), timedelta(seconds=1)],
    UUID: [UUID(int=7)],
    Colour: [*Colour],
    Size: [*Size],
    Level: [*Level],
    Mixed: [*Mixed],
    Literal["red", 1]: ["red", 1],
    list[int]: [[], [1], [1, 2]],
    list[str]: [[], ["1"]],
    tuple[int, ...]: [(), (1,)],
    frozenset[int]: [frozenset(), frozenset({1})],
    dict[str, int]: [{}, {"x": 1}],
    Point: [Point(x=1)],
    Pair: [Pair(x=1)],
    Shape: [{"x": 1}],
    Either: [Circle(radius=1), Square(side=1)],
    IPv4Address: [IPv4Address("1.2.3.4")],
}


def rejection(annotation: Any) -> type[Rejected]:
    class Refused(Rejected, code="refused"):
        held: annotation

    return Refused


def comes_back(refused: type[Rejected], value: Any) -> bool:
    details = json.loads(json.dumps(refused(held=value).details()))
    found = refused.from_details("refused", details).held  # type: ignore[attr-defined]
    return type(found) is type(value) and bool(found == value)


def distinguished(one: Any, other: Any) -> bool:
    try:
        rejection(Union[one, other])  # noqa: UP007 - None, and what | does not take
    except DefinitionError:
        return False
    return True


@pytest.mark.parametrize("one", VALUES, ids=str)
def test_what_is_accepted_comes_back_as_it_was(one: Any) -> None:
    """Every accepted pair of types, in both orders, with values of both."""
    for other, values in VALUES.items():
        if other is not one and distinguished(one, other):
            refused = rejection(Union[one, other])  # noqa: UP007
            for value in (*VALUES[one], *values):
                assert comes_back(refused, value), (one, other, value)


def test_every_type_comes_back_where_it_is_alone_or_optional() -> None:
    for type_, values in VALUES.items():
        assert type_ is None or distinguished(None, type_)
        for value in values:
            assert comes_back(rejection(type_), value), (type_, value)
            assert comes_back(rejection(Union[type_, None]), value), (type_, value)  # noqa: UP007


# What users may well want, and get.
GOOD: list[Any] = [
    int | str,
    str | None,
    bool | int | str | None,
    int | float,
    int | Decimal,
    Decimal | list[str],
    str | list[int] | Point | None,
    str | Literal["all"],
    Annotated[str, Field(max_length=3)] | Annotated[str, Field(pattern="x+")],
    Either | None,
    list[Either],
    dict[str, int | str],
    Size | str,
]


@pytest.mark.parametrize("annotation", GOOD, ids=str)
def test_a_union_that_json_distinguishes_is_accepted(annotation: Any) -> None:
    rejection(annotation)


class Holder(BaseModel):
    amount: Decimal | str


class Tree(BaseModel):
    left: Tree | None = None
    what: UUID | str = ""


@dataclass
class Held:
    amount: list[int] | set[int]


class HeldToo(TypedDict):
    amount: Decimal | str


Alias = TypeAliasType("Alias", Decimal | str)
BAD: list[tuple[Any, str]] = [
    (Decimal | str, "field 'held': Decimal and str in one union are both a JSON string"),
    (Decimal | str | None, "Decimal and str"),
    (date | datetime, "date and datetime in one union are both a JSON string"),
    (UUID | str, "UUID and str"),
    (bytes | str, "bytes and str"),
    (float | str, "float and str"),
    (float | Decimal, "float and Decimal"),
    (Colour | str, "Colour and str in one union are both a JSON string"),
    (Size | int, "Size and int in one union are both a JSON integer"),
    (Mixed | int, "Mixed and int"),
    (Colour | Literal["red"], "Colour and Literal"),
    (list[int] | list[str], "list and list in one union are both a JSON array"),
    (list[int] | tuple[int, ...], "list and tuple"),
    (Circle | Square, "Circle and Square in one union are both a JSON object .*Field\\(discriminator=…\\)"),
    (Point | dict[str, int], "Point and dict"),
    (Any | int, "Any and int"),
    (object | int, "Any and int"),
    (list[Decimal | str], "Decimal and str"),
    (dict[str, Decimal | str], "Decimal and str"),
    (tuple[int, Decimal | str], "Decimal and str"),
    (Alias, "Decimal and str"),
    (Annotated[Decimal | str, AfterValidator(lambda value: value)], "Decimal and str"),
    (Holder, "field 'Holder.amount': Decimal and str"),
    (list[Tree], "field 'Tree.what': UUID and str"),
    (Held, "field 'Held.amount': list and set"),
    (HeldToo, "field 'HeldToo.amount': Decimal and str"),
]


@pytest.mark.parametrize(("annotation", "text"), BAD, ids=[text for _, text in BAD])
def test_a_union_that_json_does_not_distinguish_is_refused_at_definition(annotation: Any, text: str) -> None:
    with pytest.raises(DefinitionError, match=f"rejection Refused: .*{text}"):
        rejection(annotation)


def test_a_union_of_a_base_is_refused_there_and_nobody_finds_the_class() -> None:
    with pytest.raises(DefinitionError, match="rejection Base: field 'held'"):

        class Base(Rejected, abstract=True):
            held: Decimal | str


def test_every_pair_that_is_refused_has_a_reason() -> None:
    """No pair is refused in which neither member may be written as the other's kind of JSON."""
    alike: list[set[Any]] = [
        {
            float,
            str,
            bytes,
            Decimal,
            date,
            datetime,
            time,
            timedelta,
            UUID,
            Colour,
            Mixed,
            Literal["red", 1],
            IPv4Address,
        },
        {int, Size, Level, Mixed, Literal["red", 1]},
        {float, Size, Level, Mixed, Decimal},
        {bool, Literal["red", 1]},
        {list[int], list[str], tuple[int, ...], frozenset[int]},
        {dict[str, int], Point, Pair, Shape, Either},
    ]
    for one, other in combinations(VALUES, 2):
        if not distinguished(one, other):
            assert any(one in group and other in group for group in alike), (one, other)
