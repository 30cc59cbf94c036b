"""A copy of an aggregate can be evolved, whatever it holds, without the original changing."""

from __future__ import annotations

import copy
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from functools import cached_property
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, PrivateAttr

from eventsource.domain import Event
from tests.creatable import Creatable


class Colour(Enum):
    RED = "red"


class Price(Event, name="price"):
    amount: int
    colours: tuple[Colour, ...] = ()


class Priced(Price, name="priced"):
    history: list[int]


class Basket(BaseModel):
    articles: list[str]


class Counter(BaseModel):
    model_config = ConfigDict(frozen=True)
    _seen: list[int] = PrivateAttr(default_factory=list)


class Open(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")


class Point(NamedTuple):
    x: int
    y: Any


class LabelledPoint(Point):
    pass


@dataclass(frozen=True)
class Frozen:
    held: Any


@dataclass(frozen=True, slots=True)
class FrozenSlots:
    held: Any


@dataclass
class Loose:
    held: Any


class Text(str):
    pass


class Thing(Creatable, name="thing"):
    held: Any
    other: Any = None
    number: int = 0
    listed: list[str] = field(default_factory=list)


def copied(held: Any, **others: Any) -> tuple[Thing, Thing]:
    thing = Thing(held=held, **others)
    return thing, Thing.__definition__.copy(thing)


UNCHANGEABLE = [
    None,
    True,
    7,
    1.5,
    "text",
    b"bytes",
    Decimal("1.00"),
    date(2020, 1, 1),
    datetime(2020, 1, 1, tzinfo=UTC),
    UUID(int=7),
    Colour.RED,
    (1, ("a", Colour.RED)),
    frozenset({1, (2, 3)}),
    Price(amount=1, colours=(Colour.RED,)),
    (Price(amount=1),),
    Frozen((1, 2)),
    FrozenSlots(Price(amount=1)),
    Point(1, "a"),
    Colour,
    len,
]


@pytest.mark.parametrize("held", UNCHANGEABLE, ids=repr)
def test_what_cannot_change_is_shared(held: Any) -> None:
    _, twin = copied(held)
    assert twin.held is held


def labelled() -> LabelledPoint:
    point = LabelledPoint(1, 2)
    point.label = ["a"]
    return point


def labelled_text() -> Text:
    text = Text("a")
    text.label = ["a"]
    return text


def counter() -> Counter:
    counter = Counter()
    counter._seen.append(1)
    return counter


def frozen_with_extra() -> Frozen:
    frozen = Frozen(1)
    object.__setattr__(frozen, "extra", [1])
    return frozen


def innermost(value: Any) -> list[Any]:
    """The list somewhere inside of `value`."""
    ways = {
        list: lambda v: v,
        tuple: lambda v: v[-1],
        dict: lambda v: next(iter(v.values())),
        OrderedDict: lambda v: v["a"],
        defaultdict: lambda v: v["a"],
        deque: lambda v: v[0],
        Point: lambda v: v.y,
        Frozen: lambda v: v.extra if hasattr(v, "extra") else v.held,
        FrozenSlots: lambda v: v.held,
        Loose: lambda v: v.held,
        Priced: lambda v: v.history,
        Basket: lambda v: v.articles,
        Counter: lambda v: v._seen,
        Open: lambda v: v.more,
        LabelledPoint: lambda v: v.label,
        Text: lambda v: v.label,
    }
    while type(value) is not list or (value and not isinstance(value[-1], int | str)):
        value = value[-1] if type(value) is list else ways[type(value)](value)
    return value


CHANGEABLE = [
    [1],
    [[1]],
    (1, [1]),
    ((1, ([1],)),),
    {"a": [1]},
    {"a": {"b": [1]}},
    OrderedDict(a=[1]),
    defaultdict(list, a=[1]),
    deque([[1]]),
    Point(1, [1]),
    Frozen([1]),
    FrozenSlots([1]),
    (Frozen(([1],)),),
    Loose([1]),
    Priced(amount=1, history=[1]),
    (Priced(amount=1, history=[1]),),
    Basket(articles=["a"]),
    {"a": Basket(articles=["a"])},
    counter(),
    Open(more=[1]),
    labelled(),
    labelled_text(),
    frozen_with_extra(),
]


@pytest.mark.parametrize("held", CHANGEABLE, ids=repr)
def test_what_can_change_is_not_shared_however_deep_it_lies(held: Any) -> None:
    thing, twin = copied(held)
    assert innermost(twin.held) == innermost(thing.held)
    assert innermost(twin.held) is not innermost(thing.held)
    assert type(twin.held) is type(held)
    innermost(twin.held).append("new")
    assert "new" not in innermost(thing.held)


def nested(levels: int, around: Callable[[Any], Any]) -> Any:
    value: Any = []
    for _ in range(levels):
        value = around(value)
    return value


@pytest.mark.parametrize("around", [lambda v: [v], lambda v: {"a": v}, lambda v: (v,)], ids=["list", "dict", "tuple"])
def test_a_state_may_nest_deep_but_not_so_deep_that_a_stack_overflows(around: Callable[[Any], Any]) -> None:
    thing, twin = copied(nested(90, around))
    assert twin.held == thing.held
    with pytest.raises(RecursionError, match="more than 200 levels deep: keep what is nested flat"):
        copied(nested(100_000, around))


@pytest.mark.parametrize(
    ("held", "change"),
    [
        ({1, 2}, lambda v: v.add(3)),
        (bytearray(b"a"), lambda v: v.extend(b"b")),
        ({frozenset({1})}, lambda v: v.clear()),
        ({1: 2}, lambda v: v.clear()),
    ],
)
def test_sets_and_byte_arrays_are_not_shared(held: Any, change: Any) -> None:
    thing, twin = copied(held)
    before = copy.deepcopy(thing.held)
    assert twin.held == held
    change(twin.held)
    assert thing.held == before


def test_an_annotation_that_says_less_than_the_truth_shares_nothing() -> None:
    class Careless(Creatable, name="careless"):
        tags: Sequence[str] = ()
        label: str = ""

    careless = Careless(tags=["a"], label=["not a str"])
    twin = Careless.__definition__.copy(careless)
    twin.tags.append("b")
    twin.label.append("c")
    assert careless == Careless(tags=["a"], label=["not a str"])


def test_two_fields_that_hold_one_list_still_do_in_the_copy() -> None:
    both = ["a"]
    thing, twin = copied(both, other={"same": both})
    assert twin.held is twin.other["same"]
    assert twin.held is not thing.held
    _, again = copied((both, Loose(both)))
    assert again.held[0] is again.held[1].held


def test_what_holds_itself_or_the_aggregate_is_copied() -> None:
    ring: list[Any] = []
    ring.append(ring)
    thing = Thing(held=ring)
    thing.other = [thing]
    twin = Thing.__definition__.copy(thing)
    assert twin.held[0] is twin.held
    assert twin.held is not ring
    assert twin.other[0] is twin


def test_attributes_that_are_no_fields_are_copied_too() -> None:
    class Cached(Creatable, name="cached"):
        number: int

        @cached_property
        def numbers(self) -> list[int]:
            return [self.number]

    cached = Cached(number=1)
    cached.numbers.append(2)
    twin = Cached.__definition__.copy(cached)
    assert twin.numbers == [1, 2]
    twin.numbers.append(3)
    assert cached.numbers == [1, 2]


def test_an_aggregate_with_slots_is_copied() -> None:
    class Slotted:
        __slots__ = ("cache",)

    class Box(Slotted, Creatable, name="box"):
        number: int

    box = Box(number=1)
    box.cache = [1]
    twin = Box.__definition__.copy(box)
    twin.cache.append(2)
    assert (box.cache, twin.number) == ([1], 1)


def test_an_aggregates_own_way_to_be_copied_is_honoured() -> None:
    class Own(Creatable, name="own"):
        number: int

        def __deepcopy__(self, memo: dict[int, Any]) -> Own:
            return Own(number=self.number + 1)

    assert Own.__definition__.copy(Own(number=1)).number == 2


def test_the_copy_is_made_without_the_constructor() -> None:
    made = []

    class Box(Creatable, name="box"):
        number: int

        def __post_init__(self) -> None:
            made.append(self)

    twin = Box.__definition__.copy(Box(number=1))
    assert (type(twin), twin.number, len(made)) == (Box, 1, 1)


values = st.recursive(
    st.none() | st.integers() | st.text() | st.decimals(allow_nan=False) | st.just(Colour.RED),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=2), inner, max_size=3)
        | inner.map(Frozen)
        | inner.map(Loose)
    ),
    max_leaves=8,
)


@given(held=values)
def test_a_copy_equals_its_original_and_shares_nothing_that_can_change(held: Any) -> None:
    thing, twin = copied(held)
    assert twin == thing
    assert not changeable(thing.held) & changeable(twin.held)


def changeable(value: Any) -> set[int]:
    """The ids of everything inside of `value` that can change."""
    match value:
        case list():
            return {id(value)}.union(*map(changeable, value))
        case dict():
            return {id(value)}.union(*map(changeable, value.values()))
        case tuple():
            return set().union(*map(changeable, value))
        case Frozen(held=held):
            return changeable(held)
        case Loose(held=held):
            return {id(value)} | changeable(held)
    return set()
