"""A state that was written comes back as it was, under a class that has moved on since, or is refused."""

from __future__ import annotations

import re
import struct
from dataclasses import InitVar, dataclass, field, fields, is_dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal, localcontext
from enum import Enum, IntEnum
from functools import cached_property
from typing import Annotated, Any, ClassVar, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from eventsource.domain import Aggregate, Event, creates
from eventsource.errors import DecodeError, DefinitionError, EncodeError, NoExactForm, UnknownFingerprint
from eventsource.schemas import MemorySchemaStore, StateCodec
from eventsource.schemas.conversions import LONG_MAX, LONG_MIN

Money = Annotated[Decimal, Field(max_digits=18, decimal_places=2)]
ZURICH = ZoneInfo("Europe/Zurich")


def stable_repr(value: object) -> str:
    """Without addresses: every process that collects tests must find the same ones."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


class Colour(Enum):
    RED = "r"
    BLUE = "b"


class Level(IntEnum):
    LOW = 1


class Opened(Event, name="state-opened"):
    pass


class Line(BaseModel):
    model_config = ConfigDict(frozen=True)
    text: str
    amount: Money
    ratio: float = 0.0


@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: float | None = None


@dataclass
class Tree:
    value: Decimal
    children: list[Tree] = field(default_factory=list)
    note: str = field(default="none", init=False)


class Everything(Aggregate, name="every-thing"):
    text: str
    number: int = 0
    ratio: float = 0
    flag: bool = False
    raw: bytes = b""
    amount: Money = Decimal("0.00")
    rate: Decimal = Decimal(1)
    day: date = date(2024, 2, 29)
    at: datetime | None = None
    clock: time = time(0)
    lasting: timedelta = timedelta(0)
    id: UUID = UUID(int=0)
    colour: Colour = Colour.RED
    level: Level | None = None
    tags: list[str] = field(default_factory=list)
    numbers: set[int] = field(default_factory=set)
    colours: frozenset[Colour] = frozenset()
    pair: tuple[int, str | None] = (0, None)
    many: tuple[Decimal, ...] = ()
    scores: dict[str, Decimal] = field(default_factory=dict)
    by_id: dict[UUID, list[Point]] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)
    point: Point | None = None
    tree: Tree | None = None
    mixed: int | str | Line | Point | None = None
    limit: ClassVar[int] = 3

    @creates
    @classmethod
    def opened(cls, event: Opened) -> Everything:
        raise NotImplementedError


STORE = MemorySchemaStore()
CODEC = StateCodec(Everything, STORE)


def exactly(value: Any) -> Any:
    """What `==` does not tell: types, how a number is written, the bits of a float, a zone."""
    if isinstance(value, float):
        return struct.pack(">d", value)
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime | time):
        zone = value.tzinfo.key if isinstance(value.tzinfo, ZoneInfo) else value.utcoffset()
        return (
            type(value),
            value.replace(tzinfo=None).isoformat(),
            value.fold if zone in (None, "Europe/Zurich") else 0,
            zone,
        )
    if isinstance(value, list | tuple):
        return (type(value), [exactly(item) for item in value])
    if isinstance(value, set | frozenset):
        return (type(value), sorted(repr(exactly(item)) for item in value))
    if isinstance(value, dict):
        return [(exactly(key), exactly(item)) for key, item in value.items()]
    if is_dataclass(value):
        return (type(value), [exactly(getattr(value, part.name)) for part in fields(value)])
    if hasattr(value, "__dict__") and not isinstance(value, Enum):
        return (type(value), exactly(vars(value)))
    return (type(value), value)


longs = st.integers(LONG_MIN, LONG_MAX)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
floats = st.floats() | st.integers(-1000, 1000)
decimals = st.decimals() | st.sampled_from([Decimal("5"), Decimal("5.00"), Decimal("-0.0"), Decimal("1E+999999")])
offsets = st.integers(-86_399, 86_399).map(lambda seconds: timezone(timedelta(seconds=seconds)))
datetimes = st.datetimes(timezones=st.none() | offsets | st.just(ZURICH) | st.just(UTC))
money = st.decimals(-(10**9), 10**9, places=2)
points = st.builds(Point, x=longs, y=st.none() | floats)
lines = st.builds(Line, text=texts, amount=money)
trees = st.recursive(
    st.builds(Tree, value=decimals),
    lambda inner: st.builds(Tree, value=decimals, children=st.lists(inner, max_size=2)),
    max_leaves=4,
)
states = st.builds(
    Everything,
    text=texts,
    number=longs,
    ratio=floats,
    flag=st.booleans(),
    raw=st.binary(max_size=5),
    amount=decimals,
    rate=decimals,
    day=st.dates(),
    at=st.none() | datetimes,
    clock=st.times(timezones=st.none() | offsets),
    lasting=st.timedeltas(timedelta(microseconds=LONG_MIN), timedelta(microseconds=LONG_MAX)),
    id=st.uuids(),
    colour=st.sampled_from(Colour),
    level=st.none() | st.just(Level.LOW),
    tags=st.lists(texts, max_size=3),
    numbers=st.sets(longs, max_size=3),
    colours=st.frozensets(st.sampled_from(Colour)),
    pair=st.tuples(longs, st.none() | texts),
    many=st.lists(decimals, max_size=2).map(tuple),
    scores=st.dictionaries(texts, decimals, max_size=2),
    by_id=st.dictionaries(st.uuids(), st.lists(points, max_size=2), max_size=2),
    lines=st.lists(lines, max_size=2),
    point=st.none() | points,
    tree=st.none() | trees,
    mixed=st.none() | longs | texts | lines | points,
)


@settings(max_examples=20)
@given(states)
def test_every_state_comes_back_exactly(state: Everything) -> None:
    found = CODEC.decode(CODEC.encode(state))
    assert exactly(found) == exactly(state)


def test_a_number_keeps_how_it_was_written_under_any_context() -> None:
    state = Everything(text="", rate=Decimal("1234567.8900"), amount=Decimal("123456789012345678901234567890.123"))
    with localcontext() as context:
        context.prec = 2
        context.clear_traps()
        found = CODEC.decode(CODEC.encode(state))
    assert (str(found.rate), str(found.amount)) == ("1234567.8900", "123456789012345678901234567890.123")


def test_the_value_is_a_single_object_of_the_aggregates_record() -> None:
    value = CODEC.encode(Everything(text="x"))
    assert value[:2] == b"\xc3\x01"
    assert STORE.get(int.from_bytes(value[2:10], "little")).name == "state.every_thing"


def test_what_is_read_is_an_instance_that_goes_on() -> None:
    found = CODEC.decode(CODEC.encode(Everything(text="x", point=Point(1))))
    found.number += 1
    found.tags.append("a")
    assert found == Everything(text="x", number=1, tags=["a"], point=Point(1))
    assert Everything.__definition__.copy(found) == found
    assert vars(found).keys() == vars(Everything(text="")).keys()


def test_neither_initialiser_nor_validators_are_run() -> None:
    ran: list[str] = []

    class Strict(BaseModel):
        value: int

        @pydantic.model_validator(mode="after")
        def check(self) -> Strict:
            ran.append("validator")
            return self

    @dataclass
    class Inner:
        value: int
        factor: InitVar[int] = 1

        def __post_init__(self, factor: int) -> None:
            ran.append("inner")

    class Account(Aggregate, name="initialised"):
        strict: Strict
        inner: Inner
        derived: int = field(init=False)

        def __post_init__(self) -> None:
            ran.append("outer")
            self.derived = 7

        def __setattr__(self, name: str, value: object) -> None:
            ran.append(name)
            super().__setattr__(name, value)

        @creates
        @classmethod
        def opened(cls, event: Opened) -> Account:
            raise NotImplementedError

    # names inside a function are seen by the class alone, so its nested ones have plain annotations
    Inner.__annotations__ = {"value": int, "factor": InitVar[int]}
    state = Account(strict=Strict(value=1), inner=Inner(2))
    codec = StateCodec(Account, MemorySchemaStore())
    ran.clear()
    found = codec.decode(codec.encode(state))
    assert ran == []
    assert found == state


# --- a class that moved on --------------------------------------------------------------------------------------------


def aggregate(annotations: dict[str, Any], defaults: dict[str, Any] | None = None, name: str = "account") -> type[Any]:
    """An aggregate class with these annotations, as if it were a later or an earlier version of another."""

    def opened(cls: Any, event: Opened) -> Any:
        raise NotImplementedError

    opened.__annotations__ = {"event": Opened}
    opened.__qualname__ = f"Account.opened_{id(annotations)}"
    body = {"__annotations__": annotations, "__module__": __name__, **(defaults or {})}
    body["opened"] = creates(classmethod(opened))
    return type("Account", (Aggregate,), body, name=name)


def change(before: type[Any], after: type[Any], **values: Any) -> Any:
    store = MemorySchemaStore()
    value = StateCodec(before, store).encode(before(**values))
    return StateCodec(after, store).decode(value)


def test_an_added_field_takes_its_default_and_a_removed_one_is_dropped() -> None:
    before = aggregate({"kept": int, "removed": str})
    after = aggregate(
        {"added": str, "kept": int, "made": list[int], "point": Point | None},
        {"added": "x", "made": field(default_factory=lambda: [1]), "point": None},
    )
    found = change(before, after, kept=3, removed="y")
    assert found == after(kept=3)
    assert vars(found) == {"added": "x", "kept": 3, "made": [1], "point": None}


def test_an_added_field_without_default_is_refused() -> None:
    with pytest.raises(DecodeError, match=r"state\.account\.added: .*give it a default$"):
        change(aggregate({"kept": int}), aggregate({"kept": int, "added": int}), kept=1)


def test_an_added_field_of_a_nested_dataclass_takes_its_default() -> None:
    def inner(annotations: dict[str, Any], **defaults: Any) -> type[Any]:
        return dataclass(type("Inner", (), {"__annotations__": annotations, "__module__": __name__, **defaults}))

    before = inner({"x": int})
    after = inner({"x": int, "y": int}, y=5)
    found = change(aggregate({"inner": before}), aggregate({"inner": after}), inner=before(1))
    assert found.inner == after(1, 5)


@pytest.mark.parametrize("zone", [ZURICH, ZoneInfo("UTC"), UTC, timezone(timedelta(hours=1))], ids=str)
@pytest.mark.parametrize("fold", [0, 1])
def test_a_time_keeps_its_zone(zone: tzinfo, fold: int) -> None:
    at = datetime(2024, 10, 27, 2, 30, 0, 5, tzinfo=zone, fold=fold)
    found = CODEC.decode(CODEC.encode(Everything(text="", at=at))).at
    assert found is not None
    assert found.tzinfo == zone
    assert (found, found.utcoffset()) == (at, at.utcoffset())
    assert (found + timedelta(days=200)).utcoffset() == (at + timedelta(days=200)).utcoffset()


def test_a_zone_that_is_not_known_here_is_refused() -> None:
    value = CODEC.encode(Everything(text="", at=datetime(2024, 1, 1, tzinfo=ZURICH)))
    for name in (b"Europe/Zuricx", b"Europe/../ich", b"/etc/hostname"):
        with pytest.raises(DecodeError, match=r"state\.every_thing\.at: "):
            CODEC.decode(value.replace(b"Europe/Zurich", name))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (0, 1),
        (Decimal("0"), Decimal("0.0")),
        (Colour.RED, Colour.BLUE),
        (field(default_factory=list), field(default_factory=lambda: [1])),
        (field(default_factory=lambda: [2]), field(default_factory=lambda: [1])),
        (Point(1), Point(2)),
        (Line(text="a", amount=Decimal(1)), Line(text="b", amount=Decimal(1))),
    ],
    ids=stable_repr,
)
def test_a_state_made_with_another_default_is_refused(before: Any, after: Any) -> None:
    kinds = {"it": int | Colour | list[int] | Point | Line | Decimal}
    with pytest.raises(DecodeError, match=r"state\.account\.it: its default is not the one .* from its events again"):
        change(aggregate(kinds, {"it": before}), aggregate(kinds, {"it": after}))
    assert change(aggregate(kinds, {"it": before}), aggregate(kinds, {"it": before})) is not None


def test_another_default_does_not_matter_to_who_makes_nothing_of_the_state() -> None:
    store = MemorySchemaStore()
    before, after = aggregate({"it": int}, {"it": 1}), aggregate({"it": int}, {"it": 2})
    value = StateCodec(before, store).encode(before())
    assert StateCodec(after, store, check_defaults=False).decode(value) == after(it=1)


def test_states_of_another_aggregate_are_refused() -> None:
    with pytest.raises(DecodeError, match=r"the bytes are those of state\.other"):
        change(aggregate({"it": int}, name="other"), aggregate({"it": int}), it=1)


def test_states_of_a_schema_that_the_store_lost_are_refused() -> None:
    before, after = aggregate({"it": int}), aggregate({"it": int, "more": int}, {"more": 1})
    value = StateCodec(before, MemorySchemaStore()).encode(before(it=1))
    with pytest.raises(UnknownFingerprint):
        StateCodec(after, MemorySchemaStore()).decode(value)


# --- what is refused ------------------------------------------------------------------------------------------------


class Pair(NamedTuple):
    x: int


class Growing(dict[str, int]):
    pass


@dataclass
class Counted(Growing):
    count: int = 0


class Slotted:
    __slots__ = ("hidden",)


@dataclass
class Hiding(Slotted):
    shown: int = 0


class Private(BaseModel):
    _seen: int = pydantic.PrivateAttr(default=0)


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (Any, r"Account\.it: .*give the field the type that it holds"),
        (object, "give the field the type that it holds"),
        (list, "say what it holds"),
        (Pair, "Pair has no exact Avro form"),
        (Counted, "Counted holds more than its fields"),
        (Hiding, r"Hiding\.hidden: a slot that is no field"),
        (Private, r"Private\._seen: a private attribute does not travel"),
        (str | datetime, "cannot be told apart once written"),
        ("Missing", r"Account\.it: .*'Missing', which is not defined"),
    ],
    ids=str,
)
def test_a_field_that_has_no_exact_form_is_refused_with_its_mend(annotation: Any, text: str) -> None:
    with pytest.raises(DefinitionError, match=text):
        StateCodec(aggregate({"it": annotation}), MemorySchemaStore())


class Unknown(tzinfo):
    def utcoffset(self, _: datetime | None) -> timedelta | None:
        return timedelta(0) if _ else None


class Later(datetime):
    pass


class Name(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"number": True}, r"state\.every_thing\.number: int is needed, not bool"),
        ({"number": 1 << 63}, "does not fit into 64 bits"),
        ({"ratio": True}, r"float \| int is needed, not bool|int is needed, not bool"),
        ({"text": Name("x")}, "str is needed, not Name"),
        ({"rate": 1}, "Decimal is needed, not int"),
        ({"at": Later(2024, 1, 1)}, "datetime is needed, not Later"),
        ({"at": datetime(2024, 1, 1, tzinfo=Unknown())}, "in a time zone of type Unknown cannot be written"),
        ({"day": datetime(2024, 1, 1)}, "date is needed, not datetime"),
        ({"tags": ("a",)}, "list is needed, not tuple"),
        ({"lines": [Point(1)]}, r"lines: Line is needed, not Point"),
        ({"tree": Tree(1)}, r"tree\.value: Decimal is needed, not int"),  # type: ignore[arg-type]  # the point
    ],
    ids=stable_repr,
)
def test_a_value_that_would_not_come_back_is_refused(values: dict[str, Any], text: str) -> None:
    with pytest.raises(EncodeError, match=text):
        CODEC.encode(Everything(**{"text": "", **values}))


def test_an_attribute_that_is_no_field_is_refused() -> None:
    state = Everything(text="")
    state.cache = 1  # type: ignore[attr-defined]  # the point
    with pytest.raises(EncodeError, match=r"Everything\.cache is no field, and would not come back"):
        CODEC.encode(state)
    tree = Tree(Decimal(1))
    tree.cache = 1  # type: ignore[attr-defined]  # the point
    with pytest.raises(EncodeError, match=r"tree: Tree\.cache is no field"):
        CODEC.encode(Everything(text="", tree=tree))


def test_a_field_that_was_taken_away_is_refused() -> None:
    state = Everything(text="")
    del state.text
    with pytest.raises(EncodeError, match=r"state\.every_thing\.text: "):
        CODEC.encode(state)


def test_a_cached_property_is_computed_again() -> None:
    class Account(Aggregate, name="cached"):
        number: int

        @cached_property
        def double(self) -> int:
            return self.number * 2

        @creates
        @classmethod
        def opened(cls, event: Opened) -> Account:
            raise NotImplementedError

    codec = StateCodec(Account, MemorySchemaStore())
    state = Account(number=2)
    assert state.double == 4
    found = codec.decode(codec.encode(state))
    assert vars(found) == {"number": 2}
    assert found.double == 4


def test_a_field_that_is_set_by_its_class_alone_comes_back() -> None:
    found = CODEC.decode(CODEC.encode(Everything(text="", tree=Tree(Decimal(1)))))
    assert found.tree is not None
    assert found.tree.note == "none"


@given(st.binary(max_size=60), st.integers(0, 40))
def test_damaged_bytes_are_refused_or_read_as_a_state(damage: bytes, position: int) -> None:
    value = CODEC.encode(Everything(text="x", tree=Tree(Decimal(1)), at=datetime(2024, 1, 1, tzinfo=ZURICH)))
    damaged = value[: 10 + position] + damage + value[10 + position + len(damage) :]
    try:
        assert type(CODEC.decode(damaged)) is Everything
    except DecodeError as error:
        assert str(error).startswith("state.every_thing")  # noqa: PT017  # either outcome is right


def test_the_error_of_a_class_that_cannot_be_kept_is_one_of_definition() -> None:
    assert issubclass(NoExactForm, DefinitionError)
