"""Bodies that take more memory than they are allowed: refused before anything is made of them, by writers too."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any
from uuid import UUID

import pytest
from pydantic import BaseModel, Field

from eventsource.errors import DecodeError, EncodeError
from eventsource.schemas import Limits, MemorySchemaStore, MessageCodec
from eventsource.schemas.budget import Budget
from eventsource.schemas.limits import DEFAULT_LIMITS

MIB = 1 << 20
SMALL = Limits(memory_bytes=MIB, elements=8_000)
FREE = replace(SMALL, memory_bytes=1 << 40, elements=1 << 40)


class Colour(Enum):
    RED = 1


class Nothing(BaseModel):
    """A byte on the wire, a kilobyte in memory."""

    value: int | None = None


class Nested(BaseModel):
    one: Nothing = Nothing()
    two: list[Nothing] = []


class Node(BaseModel):
    """Only the reference codec reads what refers to itself."""

    value: int | None = None
    next: Node | None = None


Money = Annotated[Decimal, Field(max_digits=18, decimal_places=2)]

# What a message holds many of, one of them, and at which number.
FAMILIES: list[tuple[Any, Callable[[int], Any]]] = [
    (list[Nothing], lambda _: Nothing()),
    (list[Nested], lambda _: Nested()),
    (list[Node], lambda _: Node()),
    (list[int], lambda number: number + 1_000),
    (list[bool], lambda _: True),
    (list[str], str),
    (list[str], lambda number: f"{number}🙂"),
    (list[bytes], lambda number: str(number).encode()),
    (list[float], float),
    (list[Money], lambda number: Decimal(number) / 100),
    (list[datetime], lambda number: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=number)),
    (list[UUID], lambda number: UUID(int=number)),
    (list[Colour], lambda _: Colour.RED),
    (list[int | str | None], lambda number: number if number % 2 else str(number)),
    (list[tuple[int, str]], lambda number: (number, "x")),
    (list[list[int]], lambda number: [number]),
    (set[int], lambda number: number + 1_000),
    (frozenset[str], str),
    (tuple[Nothing, ...], lambda _: Nothing()),
]


def codec_of(annotation: Any, limits: Limits) -> MessageCodec[Any]:
    class Message(BaseModel):
        items: annotation

    return MessageCodec(Message, "message", MemorySchemaStore(), limits=limits)


def message_of(codec: MessageCodec[Any], annotation: Any, make: Callable[[int], Any], count: int) -> Any:
    container = {"list": list, "set": set, "frozenset": frozenset, "tuple": tuple}[annotation.__origin__.__name__]
    return codec.model.model_construct(items=container(make(number) for number in range(count)))


@pytest.mark.parametrize(("annotation", "make"), FAMILIES, ids=[f"{i} {one}" for i, (one, _) in enumerate(FAMILIES)])
def test_what_a_reader_takes_stays_within_its_memory_and_what_it_refuses_no_writer_writes(
    annotation: Any, make: Callable[[int], Any]
) -> None:
    codec, free = codec_of(annotation, SMALL), codec_of(annotation, FREE)
    taken = refused = 0
    for count in (0, 1, 200, 2_000, 7_900, 8_100, 20_000):
        message = message_of(codec, annotation, make, count)
        value = free.encode(free.model.model_construct(items=message.items))
        found = peak_bytes = None
        tracemalloc.start()
        try:
            found = codec.decode(value)
        except DecodeError as error:
            assert "reader" in str(error)  # noqa: PT017
        finally:
            peak_bytes = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        # The reference codec makes plain data first.
        assert peak_bytes < 2 * SMALL.memory_bytes + len(value)
        if found is None:
            refused += 1
            with pytest.raises(EncodeError, match="divide it"):
                codec.encode(message)
        else:
            taken += 1
            assert found == message
            assert codec.encode(message) == value
    assert taken >= 3
    assert refused >= 2


@pytest.mark.parametrize("model", [Nothing, Nested, Node], ids=lambda model: model.__name__)
def test_eight_million_models_in_as_many_bytes_cost_neither_time_nor_memory(model: type[BaseModel]) -> None:
    codec = codec_of(list[model], DEFAULT_LIMITS)  # type: ignore[valid-type]
    empty = codec.encode(codec.model(items=[]))
    count, zigzag = 8_000_000, bytearray()
    rest = count << 1
    while rest > 0x7F:
        zigzag.append(rest & 0x7F | 0x80)
        rest >>= 7
    value = empty[:-1] + bytes([*zigzag, rest]) + bytes(2 * count) + b"\x00"
    if len(value) > DEFAULT_LIMITS.body_bytes:
        value = value[: DEFAULT_LIMITS.body_bytes]
    tracemalloc.start()
    began = time.perf_counter()
    with pytest.raises(DecodeError, match=r"1,000,000 items|256 MiB of memory"):
        codec.decode(value)
    assert time.perf_counter() - began < 5
    assert tracemalloc.get_traced_memory()[1] < MIB
    tracemalloc.stop()


def test_many_small_blocks_are_counted_together() -> None:
    codec = codec_of(list[Nothing], SMALL)
    empty = codec.encode(codec.model(items=[]))
    value = empty[:-1] + b"\x02\x00" * 100_000 + b"\x00"
    with pytest.raises(DecodeError, match="1 MiB of memory"):
        codec.decode(value)


@pytest.mark.parametrize(("annotation", "make"), FAMILIES, ids=[f"{i} {one}" for i, (one, _) in enumerate(FAMILIES)])
def test_no_body_below_the_safe_length_exceeds_the_budget(annotation: Any, make: Callable[[int], Any]) -> None:
    for bits in (12, 17, 22):
        limits = Limits(memory_bytes=1 << bits, elements=1 << (bits - 6))
        free = codec_of(annotation, FREE)
        budget = Budget(free.schema.text.schema(), 10, limits)
        safe = budget.safe_bytes
        budget.safe_bytes = -1
        count = 0
        while len(value := free.encode(message_of(free, annotation, make, count))) <= min(safe, 20_000):
            budget.check_read(value)
            count = count * 3 // 2 + 1
