"""An aggregate as it was: from records, without a broker."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Self

import pytest

from eventsource.commands.history import AggregateHistory
from eventsource.domain import Aggregate, Command, Event, applies, creates, decides
from eventsource.errors import (
    DecodeError,
    ForkDetected,
    HeaderError,
    InvalidArgument,
    LoadFailed,
    NotFound,
    VersionNotReached,
)
from eventsource.log.events import EventDecoder
from eventsource.log.headers import EventHeaders, Origin, event_headers
from eventsource.log.record import Record
from eventsource.schemas import MemorySchemaStore, MessageCodec

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
BEGAN_MS = int(BEGAN.timestamp() * 1_000)
TOPIC_ID = bytes(range(16))


class Add(Command, name="add"):
    item: str


class Added(Event, name="added"):
    item: str


class Basket(Aggregate, name="basket"):
    items: list[str]

    @creates
    @classmethod
    def begin(cls, command: Add) -> Added:
        return Added(item=command.item)

    @creates
    @classmethod
    def on_begun(cls, event: Added) -> Self:
        return cls(items=[event.item])

    @decides
    def add(self, command: Add) -> Added:
        return Added(item=command.item)

    @applies
    def on_added(self, event: Added) -> None:
        if event.item == "poison":
            raise RuntimeError("cannot hold that")
        self.items.append(event.item)


SCHEMAS = MemorySchemaStore()
CODEC = MessageCodec(Added, "added", SCHEMAS)
DECODER = EventDecoder(Basket, SCHEMAS)


def record(
    version: int, item: str = "x", *, command: str = "", index: int = 1, count: int = 1, after: int = 0
) -> Record:
    headers = EventHeaders(
        command_id=command or f"c-{version}",
        index=index,
        count=count,
        type="added",
        revision=1,
        source="/shop/basket",
        version=version,
        origin=Origin(TOPIC_ID, 0, version),
        time_ms=BEGAN_MS + after,
        body_hash=bytes(8),
    )
    value = CODEC.encode(Added(item=item))
    return Record("shop.basket.events", 0, 2 * version, BEGAN_MS, b"b-1", value, event_headers(headers))


def history(
    *records: Record, at_version: int | None = None, at_time: datetime | None = None
) -> AggregateHistory[Basket]:
    taken = AggregateHistory(Basket, "b-1", DECODER, at_version=at_version, at_time=at_time)
    for each in records:
        taken.take(each)
    return taken


THREE = record(1, "a", after=1_000), record(2, "b", after=2_000), record(3, "c", after=3_000)


@pytest.mark.parametrize(("version", "items"), [(1, "a"), (2, "ab"), (3, "abc")])
def test_each_version_is_what_it_was(version: int, items: str) -> None:
    taken = history(*THREE, at_version=version)
    loaded = taken.loaded(TOPIC_ID)
    assert (loaded.state.items, loaded.version) == (list(items), version)
    assert (loaded.token.offset, loaded.token.version, loaded.token.aggregate_id) == (2 * version, version, "b-1")
    assert taken.time == BEGAN + timedelta(seconds=version)


@pytest.mark.parametrize(
    ("after_ms", "version"), [(1_000, 1), (1_000.9, 1), (1_999.999, 1), (2_000, 2), (2_001, 2), (9_000, 3)]
)
def test_a_time_takes_in_the_events_of_that_very_time(after_ms: float, version: int) -> None:
    assert history(*THREE, at_time=BEGAN + timedelta(milliseconds=after_ms)).loaded(TOPIC_ID).version == version


def test_a_time_in_another_zone_is_the_same_time() -> None:
    zone = BEGAN.astimezone().tzinfo
    assert history(*THREE, at_time=(BEGAN + timedelta(seconds=2)).astimezone(zone)).loaded(TOPIC_ID).version == 2


def test_a_clock_that_went_back_takes_no_event_without_its_predecessors() -> None:
    records = record(1, after=1_000), record(2, after=5_000), record(3, after=2_000)
    assert history(*records, at_time=BEGAN + timedelta(seconds=3)).loaded(TOPIC_ID).version == 1


def test_without_a_limit_it_is_the_newest() -> None:
    assert history(*THREE).loaded(TOPIC_ID).state.items == ["a", "b", "c"]


def test_before_the_first_event_there_was_nothing() -> None:
    with pytest.raises(NotFound, match=r"did not exist yet at 2026-01-01T00:00:00\.999"):
        history(*THREE, at_time=BEGAN + timedelta(milliseconds=999)).loaded(TOPIC_ID)
    with pytest.raises(NotFound, match="does not exist"):
        history(at_version=1).loaded(TOPIC_ID)


def test_a_version_to_come_is_told_with_the_newest() -> None:
    with pytest.raises(VersionNotReached, match="the newest is 3") as told:
        history(*THREE, at_version=4).loaded(TOPIC_ID)
    assert (told.value.version, told.value.newest) == (4, 3)


@pytest.mark.parametrize(
    ("records", "text"),
    [
        ([record(2)], "version 2 follows version 0"),
        ([record(1), record(3)], "has a gap"),
        ([record(1), record(1)], "has a repeat"),
        ([record(1), record(2), record(2)], "has a repeat"),  # behind the version that was asked for
        ([record(1, command="c", index=1, count=3), record(2)], "command c "),
        ([record(1, command="c", index=2, count=2)], "command c "),
        ([record(1, command="c", index=1, count=3), record(2, command="c", index=3, count=3)], "command c "),
        ([record(1), record(2, command="c", index=1, count=2)], "of the 2 events of command c"),
    ],
)
def test_a_history_that_cannot_be_trusted_is_told(records: list[Record], text: str) -> None:
    with pytest.raises(ForkDetected, match=text):
        history(*records, at_version=1).loaded(TOPIC_ID)


def test_the_events_of_one_command_belong_together() -> None:
    records = [record(1)] + [record(1 + index, command="c", index=index, count=3) for index in (1, 2, 3)]
    taken = history(*records[:2])
    assert taken.unfinished
    for each in records[2:]:
        taken.take(each)
    assert not taken.unfinished
    assert taken.loaded(TOPIC_ID).version == 4
    assert history(*records, at_version=3).loaded(TOPIC_ID).version == 3


def test_an_event_that_cannot_be_applied_is_named() -> None:
    with pytest.raises(
        LoadFailed, match=r"basket 'b-1' cannot be loaded: RuntimeError: event 'added' \(version 2, offset 4\)"
    ) as told:
        history(record(1), record(2, "poison"))
    assert isinstance(told.value.__cause__, RuntimeError)
    assert history(record(1), record(2, "poison"), at_version=1).loaded(TOPIC_ID).version == 1


def test_an_event_that_cannot_be_read_is_named() -> None:
    damaged = record(2)._replace(value=b"nothing")
    with pytest.raises(DecodeError, match=r"shop.basket.events\[0\]@4"):
        history(record(1), damaged)
    assert history(record(1), damaged, at_version=1).loaded(TOPIC_ID).version == 1
    with pytest.raises(HeaderError, match=r"shop.basket.events\[0\]@4"):
        history(record(1), record(2)._replace(headers=[]))


def test_what_cannot_be_asked_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="not both"):
        history(at_version=1, at_time=BEGAN)
    with pytest.raises(InvalidArgument, match="from 1 upwards"):
        history(at_version=0)
    with pytest.raises(InvalidArgument, match="no time zone"):
        history(at_time=datetime(2026, 1, 1))
