"""Equal values have one canonical form, and others another: it is found from bytes and the writer's schema alone."""

from __future__ import annotations

import random
from decimal import Decimal
from functools import cache
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from eventsource import stored_as
from eventsource.schemas import Malformed, MemorySchemaStore, MessageCodec, canonical_of

quick = settings(max_examples=40, deadline=None, database=None)
Money = Annotated[Decimal, Field(max_digits=18, decimal_places=2)]


@stored_as("line_entry")
class Entry(BaseModel):
    key: str
    value: float = 0.0


class Tree(BaseModel):
    leaves: dict[str, float] = {}
    children: list[Tree] = []


class Message(BaseModel):
    lines: dict[str, int] = {}
    nested: dict[str, dict[str, list[float]]] = {}
    by_number: dict[int, str | float] = {}
    by_place: dict[tuple[float, str], Money] = {}
    ratios: list[float] = []
    marks: set[float] = set()
    places: frozenset[tuple[float, str]] = frozenset()
    one: float | str | None = None
    entries: list[Entry] = []
    tree: Tree = Tree()
    text: str = ""


STORE = MemorySchemaStore()


@cache
def codec() -> MessageCodec[Message]:
    made = MessageCodec(Message, "message", STORE)
    made.register()
    return made


def canonical(value: bytes) -> bytes:
    form = canonical_of(value, STORE)
    assert form is not None
    return form(value)


floats = st.sampled_from([0.0, -0.0, 1.5, -1.5, -0.05, 1e-9])
keys = st.sampled_from(["a", "b", "cc", "é", "-0.0"])
trees = st.recursive(
    st.builds(Tree, leaves=st.dictionaries(keys, floats)),
    lambda inner: st.builds(Tree, leaves=st.dictionaries(keys, floats), children=st.lists(inner, max_size=2)),
    max_leaves=3,
)
messages = st.builds(
    Message,
    lines=st.dictionaries(keys, st.integers(-300, 300)),
    nested=st.dictionaries(keys, st.dictionaries(keys, st.lists(floats, max_size=2), max_size=2), max_size=2),
    by_number=st.dictionaries(st.integers(-200, 200), keys | floats, max_size=3),
    by_place=st.dictionaries(st.tuples(floats, keys), st.decimals(-5, 5, places=2), max_size=3),
    ratios=st.lists(floats, max_size=3),
    marks=st.sets(floats, max_size=3),
    places=st.frozensets(st.tuples(floats, keys), max_size=3),
    one=st.none() | keys | floats,
    entries=st.lists(st.builds(Entry, key=keys, value=floats), max_size=3),
    tree=trees,
    text=keys,
)


def otherwise(value: Any, seed: random.Random) -> Any:
    """An equal value: dicts and sets are made in another order, zeros have the other sign."""
    if isinstance(value, float) and value == 0.0:
        return seed.choice([0.0, -0.0])
    if isinstance(value, dict):
        items = [(otherwise(key, seed), otherwise(item, seed)) for key, item in value.items()]
        seed.shuffle(items)
        return dict(items)
    if isinstance(value, set | frozenset):
        members = [otherwise(item, seed) for item in value]
        seed.shuffle(members)
        return type(value)(members)
    if isinstance(value, list | tuple):
        return type(value)(otherwise(item, seed) for item in value)
    if isinstance(value, BaseModel):
        return type(value).model_construct(**{name: otherwise(item, seed) for name, item in value.__dict__.items()})
    return value


@quick
@given(messages, st.randoms(use_true_random=False))
def test_equal_messages_have_one_form(message: Message, seed: random.Random) -> None:
    twin = otherwise(message, seed)
    assert twin == message
    assert canonical(codec().encode(twin)) == canonical(codec().encode(message))


@quick
@given(messages, messages)
def test_the_form_stands_for_an_equal_message_and_no_other(one: Message, other: Message) -> None:
    form = canonical(codec().encode(one))
    assert codec().decode(form) == one
    assert canonical(form) == form
    assert (form == canonical(codec().encode(other))) is (one == other)


def test_a_list_keeps_its_order_even_of_what_looks_like_entries() -> None:
    one = Message(entries=[Entry(key="b"), Entry(key="a")], ratios=[2.0, 1.0])
    other = Message(entries=[Entry(key="a"), Entry(key="b")], ratios=[2.0, 1.0])
    assert canonical(codec().encode(one)) != canonical(codec().encode(other))


def test_blocks_as_other_writers_write_them_are_one_form() -> None:
    message = Message(lines={"a": 1, "b": 2})
    value = codec().encode(message)
    # Two blocks of one entry each, the first with its size in bytes: as the specification allows.
    one_block = bytes([4, 2]) + b"a" + bytes([2, 2]) + b"b" + bytes([4, 0])
    two_blocks = bytes([1, 6, 2]) + b"b" + bytes([4, 2, 2]) + b"a" + bytes([2, 0])
    assert value.count(one_block) == 1
    foreign = value.replace(one_block, two_blocks)
    assert codec().decode(foreign) == message
    assert canonical(foreign) == canonical(value) == value


class Plain(BaseModel):
    number: int
    text: str | None
    price: Money
    items: list[str]


def test_most_commands_have_no_form_but_their_own() -> None:
    plain = MessageCodec(Plain, "plain", STORE)
    value = plain.encode(Plain(number=1, text=None, price=Decimal(1), items=["b", "a"]))
    assert canonical_of(value, STORE) is None


@quick
@given(messages, st.data())
def test_broken_bytes_are_refused_or_read_as_something(message: Message, data: st.DataObject) -> None:
    value = bytearray(codec().encode(message))
    place = data.draw(st.integers(10, len(value) - 1))
    value[place] = data.draw(st.integers(0, 255))
    try:
        canonical(bytes(value))
    except Malformed:
        return


@pytest.mark.parametrize("value", [b"", b"\xc3\x01", b"nothing of the kind"])
def test_what_has_no_prefix_has_no_form(value: bytes) -> None:
    with pytest.raises(Malformed):
        canonical_of(value, STORE)


def test_a_few_bytes_cannot_stand_for_very_many_entries() -> None:
    prefix = codec().encode(Message())[:10]
    with pytest.raises(Malformed):
        canonical(prefix + b"\xfe\xff\xff\xff\xff\x07")
