"""Events that take much memory: what a worker wrote is read whatever it takes, what anybody may send is measured first."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Self

import pytest
from pydantic import BaseModel, ConfigDict

from eventsource.app import App
from eventsource.commands.aggregate_codecs import AggregateCodecs
from eventsource.commands.builtin import APPEND, pack_events
from eventsource.commands.client_codecs import ClientCodecs
from eventsource.commands.handling import CommandHandling
from eventsource.commands.reply import Reply
from eventsource.commands.status import Status
from eventsource.domain import Aggregate, Command, Event, applies, creates, decides
from eventsource.errors import EncodeError
from eventsource.log.headers import CommandHeaders, command_headers
from eventsource.log.record import Outgoing, Record
from eventsource.schemas import DEFAULT_LIMITS, MemorySchemaStore, MessageCodec, StateCodec, Taken

MIB = 1 << 20
NOW_MS = 1_700_000_000_000
MAX_EVENT_BYTES = 900_000


class Line(BaseModel):
    model_config = ConfigDict(frozen=True)
    article: int
    pieces: int


class Flag(BaseModel):
    """A byte on the wire where it has no value, half a kilobyte in memory."""

    model_config = ConfigDict(frozen=True)
    value: int | None = None


class Order(Command, name="order"):
    lines: tuple[Line, ...] = ()
    flags: int = 0


class Ordered(Event, name="ordered"):
    lines: tuple[Line, ...] = ()
    flags: tuple[Flag, ...] = ()


class Cart(Aggregate, name="cart"):
    lines: tuple[Line, ...] = ()
    flags: tuple[Flag, ...] = ()

    @creates
    @classmethod
    def begin(cls, command: Order) -> Ordered:
        return Ordered.model_construct(lines=command.lines, flags=(Flag(),) * command.flags)

    @creates
    @classmethod
    def on_begun(cls, event: Ordered) -> Self:
        return cls(lines=event.lines, flags=event.flags)

    @decides
    def order(self, command: Order) -> Ordered:
        return Ordered.model_construct(lines=command.lines, flags=(Flag(),) * command.flags)

    @applies
    def on_ordered(self, event: Ordered) -> None:
        self.lines, self.flags = event.lines, event.flags


APP = App("large", aggregates=[Cart], partitions=1)
LINES = tuple(Line(article=number % 50 + 1, pieces=2_000 + number % 2_000) for number in range(80_000))


class Partition:
    """The only partition of the app, and what it writes."""

    def __init__(self) -> None:
        self.schemas = MemorySchemaStore()
        self.client = ClientCodecs(self.schemas)
        self.codecs = AggregateCodecs(Cart, self.schemas, StateCodec(Cart, self.schemas))
        self.handling = CommandHandling(
            APP,
            Cart,
            0,
            names=APP.names(),
            commands_topic_id=b"t" * 16,
            codecs=self.codecs,
            window_ms=None,
            max_event_bytes=MAX_EVENT_BYTES,
        )
        self.handling.register_schemas()
        self.offset = 0
        self.written: list[Outgoing] = []

    def take(self, type_: str, value: bytes, expected_version: int | None = None) -> Reply:
        headers = CommandHeaders(f"c-{self.offset}", type_, "/t", NOW_MS, None, 0, b"c" * 16)
        headers = headers._replace(expected_version=expected_version)
        record = Record("large.cart.commands", 0, self.offset, NOW_MS, b"c-1", value, command_headers(headers))
        self.offset += 1
        handled = self.handling.handle([record])
        records = handled.take()
        first = len(self.written)
        self.handling.commit(handled, list(range(first, first + len(records))))
        self.written += records
        ((_, _, data),) = self.handling.replies(handled)
        (reply,) = Reply.decode_all(data)
        return reply

    def order(self, command: Order) -> Reply:
        return self.take("order", self.client.command(command))


@pytest.fixture
def partition() -> Partition:
    return Partition()


@pytest.mark.parametrize(
    ("command", "lines", "flags"),
    [(Order.model_construct(lines=LINES, flags=0), 80_000, 0), (Order(flags=480_000), 0, 480_000)],
    ids=["80,000 lines", "480,000 flags"],
)
def test_an_event_is_decided_replayed_and_its_state_loaded_whatever_memory_it_takes(
    partition: Partition, command: Order, lines: int, flags: int
) -> None:
    assert partition.order(command).status == Status.ACCEPTED
    (written,) = partition.written
    record = Record(written.topic, written.partition, 0, NOW_MS, written.key, written.value, tuple(written.headers))
    assert written.size_bytes <= MAX_EVENT_BYTES
    replayed = AggregateCodecs(Cart, partition.schemas).events.decode(record)
    assert isinstance(replayed.event, Ordered)
    assert (len(replayed.event.lines), len(replayed.event.flags)) == (lines, flags)
    assert replayed.event.lines == command.lines
    loaded = partition.take("$load", b"")
    assert loaded.status == Status.ACCEPTED
    state = partition.client.state(Cart).decode(loaded.state)
    assert (len(state.lines), len(state.flags)) == (lines, flags)


def test_a_large_event_is_appended(partition: Partition) -> None:
    value = partition.client.append(Cart, [Ordered(lines=LINES)])
    assert partition.take(APPEND, value, 0).status == Status.ACCEPTED
    assert partition.take(APPEND, value, 1).version == 2


def events_of(count: int, flags: int) -> list[Ordered]:
    return [Ordered.model_construct(lines=(), flags=(Flag(),) * flags)] * count


@pytest.mark.parametrize(("count", "flags"), [(1, 800_000), (15, 60_000), (1_000, 800)])
def test_the_events_of_an_append_are_measured_together_before_any_is_decoded(
    partition: Partition, count: int, flags: int
) -> None:
    codec = partition.codecs.events.codec(Ordered)
    value = pack_events(("ordered", codec.encode(event)) for event in events_of(count, flags))
    partition.take("nonsense", b"")
    tracemalloc.start()
    try:
        failed = partition.take(APPEND, value, 0)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (failed.status, failed.code) == (Status.FAILED, "DecodeError")
    assert "256 MiB of memory" in failed.details
    assert peak_bytes < 16 * MIB
    assert partition.order(Order()).status == Status.ACCEPTED
    with pytest.raises(EncodeError, match="append fewer at a time"):
        partition.client.append(Cart, events_of(count, flags))


@pytest.mark.parametrize("make", [lambda: Line(article=1, pieces=2_000), Flag], ids=["lines", "flags"])
def test_the_estimate_of_frozen_models_is_above_what_they_take_and_no_more_than_half_above(
    make: Callable[[], BaseModel],
) -> None:
    class Many(BaseModel):
        items: tuple[Line | Flag, ...]

    codec = MessageCodec(Many, "many", MemorySchemaStore())
    value = codec.encode(Many.model_construct(items=(make(),) * 50_000))
    codec.decode(value)
    tracemalloc.start()
    try:
        found = codec.decode(value)
        taken_bytes = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(found.items) == 50_000
    taken = Taken()
    assert codec.excess(value, taken, DEFAULT_LIMITS) is None
    assert taken_bytes < taken.memory_bytes < 1.5 * taken_bytes
