"""Values of every type that a message may hold, such as come back from the log as others, and what tells two values apart."""

import enum
import functools
import struct
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID, uuid1
from zoneinfo import ZoneInfo

import pydantic
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

Money = Annotated[Decimal, Field(max_digits=18, decimal_places=2)]
PRAGUE = ZoneInfo("Europe/Prague")


class Colour(enum.Enum):
    RED = "r"
    BLUE = "b"
    CRIMSON = "r"


class Word(enum.StrEnum):
    YES = "yes"


class Day(date):
    pass


class Moment(datetime):
    pass


class Span(timedelta):
    pass


class Id(UUID):
    pass


class Amount(Decimal):
    pass


class Text(str):
    pass


class Address(BaseModel):
    model_config = ConfigDict(frozen=True)
    city: str
    since: datetime | None = None
    code: int = 0


class FarAddress(Address):
    pass


class Remembering(BaseModel):
    model_config = ConfigDict(frozen=True)
    price: Money

    @functools.cached_property
    def shown(self) -> str:
        return str(self.price)


class Line(BaseModel):
    article: str
    price: Money = Decimal("0.00")


class Node(BaseModel):
    model_config = ConfigDict(frozen=True)
    value: Money
    next: "Node | None" = None


def _remembered(price: Decimal) -> Remembering:
    made = Remembering.model_construct(price=price)
    _ = made.shown
    return made


_decimals = st.sampled_from([Decimal(text) for text in ("5", "5.00", "-0", "-0.00", "0", "1E+1", "-7.5", "-7.50")]) | (
    st.just(Amount("3"))
)
_moments = st.sampled_from(
    [
        datetime(2026, 3, 28, 12, tzinfo=PRAGUE),
        datetime(2026, 10, 25, 2, 30, tzinfo=PRAGUE, fold=1),
        datetime(2026, 3, 28, 12, tzinfo=UTC),
        datetime(2026, 3, 28, 12, tzinfo=timezone(timedelta(hours=1), "CET")),
        datetime(2026, 3, 28, 12, tzinfo=timezone(timedelta(0), "GMT")),
        datetime(2026, 3, 28, 12, 0, 0, 5),
        datetime(2026, 3, 28, 12, fold=1),
        datetime(2026, 3, 28, 12, tzinfo=UTC, fold=1),
        Moment(2026, 3, 28, 12, tzinfo=UTC),
        pydantic.TypeAdapter(datetime).validate_python("2026-03-28T12:00:00Z"),
    ]
)
_floats = st.sampled_from([0.0, -0.0, 1.5, float("nan"), float("inf"), 3])
_texts = st.sampled_from(["", "a", "é", "-0.0"]) | st.just(Text("sub"))
_addresses = st.builds(Address, city=st.just("Brno"), since=st.none() | _moments) | st.builds(
    Address.model_construct, city=st.just("Brno"), since=_moments, code=st.just(4)
)
_nodes = st.recursive(
    st.builds(Node.model_construct, value=_decimals, next=st.none()),
    lambda inner: st.builds(Node.model_construct, value=_decimals, next=inner),
    max_leaves=3,
)

CASES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (str, _texts),
    (int, st.integers(-5, 5) | st.booleans()),
    (float, _floats),
    (bool, st.booleans() | st.just(1)),
    (bytes, st.sampled_from([b"", b"\xff"])),
    (Money, _decimals | st.just(4)),
    (datetime, _moments),
    (pydantic.NaiveDatetime, st.sampled_from([datetime(2026, 1, 1), Moment(2026, 1, 1)])),
    (date, st.sampled_from([date(2026, 1, 1), Day(2026, 1, 1)])),
    (time, st.sampled_from([time(12), time(12, fold=1), time(12, tzinfo=UTC), time(12, tzinfo=UTC, fold=1)])),
    (timedelta, st.sampled_from([timedelta(1), Span(1)])),
    (UUID, st.sampled_from([UUID(int=5), Id(int=5), uuid1()])),
    (Colour, st.sampled_from([Colour.RED, Colour.BLUE, Colour.CRIMSON])),
    (Word, st.just(Word.YES)),
    (Literal["a", 1, None], st.sampled_from(["a", 1, None])),
    (str | None, st.none() | _texts),
    (datetime | None, st.none() | _moments),
    (int | float | bool | None, st.none() | st.integers(-2, 2) | _floats | st.booleans()),
    (date | datetime, st.sampled_from([date(2026, 1, 1), Day(2026, 1, 1)]) | _moments),
    (list[int], st.lists(st.integers(-2, 2), max_size=3)),
    (list[Money], st.lists(_decimals, max_size=3)),
    (list[str] | None, st.none() | st.lists(st.just("a"), max_size=3)),
    (list[list[int]], st.lists(st.lists(st.integers(0, 2), max_size=2), max_size=2)),
    (list[Line], st.lists(st.builds(Line, article=st.just("tea")), max_size=2)),
    (tuple[int, ...], st.lists(st.integers(-2, 2), max_size=3).map(tuple)),
    (tuple[Money, ...], st.lists(_decimals, max_size=3).map(tuple)),
    (tuple[int, datetime, Money], st.tuples(st.integers(0, 2), _moments, _decimals)),
    (tuple[int, list[int]], st.tuples(st.integers(0, 2), st.lists(st.integers(0, 2), max_size=2))),
    (set[int], st.permutations([0, 8, 16, 3]).map(set)),
    (frozenset[int], st.permutations([0, 8, 16, 3]).map(frozenset)),
    (set[Money], st.sets(_decimals, max_size=3)),
    (dict[str, int], st.permutations(["b", "a", "c"]).map(lambda keys: dict.fromkeys(keys, 1))),
    (dict[str, Money], st.dictionaries(st.sampled_from(["b", "a"]), _decimals)),
    (dict[Money, str], st.dictionaries(_decimals, st.just("x"), max_size=2)),
    (dict[Colour, list[int]], st.dictionaries(st.sampled_from(Colour), st.lists(st.integers(0, 2), max_size=2))),
    (Address, _addresses | st.just(FarAddress(city="Oslo"))),
    (Address | None, st.none() | _addresses),
    (Remembering, _decimals.map(_remembered)),
    (Line, st.builds(Line.model_construct, article=st.just("tea"), price=_decimals)),
    (Node, _nodes),
]


def traced(value: Any) -> Any:
    """Everything that code could tell a value by, but its place in memory."""
    kind = type(value)
    if isinstance(value, enum.Enum):
        return kind, value.name
    if isinstance(value, float):
        return kind, struct.pack(">d", value)
    if isinstance(value, Decimal):
        return kind, value.as_tuple()
    if isinstance(value, datetime | time):
        return kind, value.replace(tzinfo=None).isoformat(), value.fold, type(value.tzinfo), str(value.tzinfo)
    if isinstance(value, UUID):
        return kind, value.int, value.is_safe
    if isinstance(value, dict):
        return kind, [(traced(key), traced(item)) for key, item in value.items()]
    if isinstance(value, list | tuple | set | frozenset):
        return kind, [traced(item) for item in value]
    if isinstance(value, BaseModel):
        return kind, traced(value.__dict__), sorted(value.__pydantic_fields_set__), value.__pydantic_extra__
    if hasattr(value, "__dict__") and not isinstance(value, str | bytes | date | timedelta):
        return kind, traced(vars(value))
    return kind, value


def changeable_parts(value: Any) -> list[Any]:
    """The objects below a value that can be changed."""
    found = [value] if isinstance(value, list | set | dict | Line | Remembering) else []
    held: Sequence[Any] = ()
    if isinstance(value, BaseModel):
        held = list(value.__dict__.values())
    elif isinstance(value, dict):
        held = [*value, *value.values()]
    elif isinstance(value, list | tuple | set | frozenset):
        held = list(value)
    return found + [part for item in held for part in changeable_parts(item)]
