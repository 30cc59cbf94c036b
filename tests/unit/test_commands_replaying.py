"""A replay without a state store: what it keeps in memory of a long history, and what it tells meanwhile."""

from __future__ import annotations

from typing import Any, Self

import pytest

from eventsource.app import App
from eventsource.commands.aggregate_codecs import AggregateCodecs
from eventsource.commands.handling import CommandHandling
from eventsource.commands.replaying import PartitionReplay
from eventsource.commands.reply import Reply
from eventsource.commands.status import Status
from eventsource.domain import Aggregate, Command, Event, applies, creates, decides
from eventsource.log.headers import CommandHeaders, command_headers
from eventsource.log.record import Record
from eventsource.schemas import MemorySchemaStore, MessageCodec

NOW_MS = 1_700_000_000_000
DAY_MS = 86_400_000
TOPIC_ID = b"t" * 16


class Add(Command, name="add"):
    amount: int


class Added(Event, name="added"):
    amount: int


class Counter(Aggregate, name="counter"):
    total: int = 0

    @creates
    @classmethod
    def begin(cls, command: Add) -> Added:
        return Added(amount=command.amount)

    @creates
    @classmethod
    def on_begun(cls, event: Added) -> Self:
        return cls(total=event.amount)

    @decides
    def add(self, command: Add) -> Added | None:
        return Added(amount=command.amount) if command.amount else None

    @applies
    def on_added(self, event: Added) -> None:
        self.total += event.amount


APP = App("sums", aggregates=[Counter], partitions=1)


class Partition:
    def __init__(self, schemas: MemorySchemaStore) -> None:
        self.schemas = schemas
        self.codecs = AggregateCodecs(Counter, schemas)
        self.handling = CommandHandling(
            APP,
            Counter,
            0,
            names=APP.names(),
            commands_topic_id=TOPIC_ID,
            codecs=self.codecs,
            window_ms=DAY_MS,
            max_event_bytes=900_000,
        )
        self.log: dict[str, list[Record]] = {"sums.counter.events": [], "sums.counter.outcomes": []}

    def command(self, offset: int, amount: int, at_ms: int) -> Record:
        headers = CommandHeaders(f"c-{offset}", "add", "/t", at_ms, None, 0, b"c" * 16)
        value = MessageCodec(Add, "add", self.schemas).encode(Add(amount=amount))
        return Record("c", 0, offset, at_ms, b"c-1", value, command_headers(headers))

    def handle(self, record: Record) -> Reply:
        handled = self.handling.handle([record])
        offsets = []
        for made in handled.records:
            records = self.log[made.topic]
            offsets.append(len(records))
            records.append(
                Record(made.topic, 0, len(records), record.timestamp_ms, made.key, made.value, tuple(made.headers))
            )
        self.handling.commit(handled, offsets)
        ((_, _, data),) = self.handling.replies(handled)
        (reply,) = Reply.decode_all(data)
        return reply

    def successor(self, on_events: Any = lambda _: None) -> Partition:
        other = Partition(self.schemas)
        replay = PartitionReplay(Counter, 0, other.handling.memory, self.codecs, TOPIC_ID, on_events)
        for start in range(0, 600, 50):
            replay.take_events(self.log["sums.counter.events"][start : start + 50])
        replay.finish()
        for start in range(0, 600, 50):
            replay.take_outcomes(self.log["sums.counter.outcomes"][start : start + 50])
        return other


@pytest.fixture(scope="module")
def long_lived() -> Partition:
    """Thirty days of twenty commands each, every other one with an event."""
    made = Partition(MemorySchemaStore())
    for offset in range(600):
        made.handle(made.command(offset, (offset + 1) % 2, NOW_MS + offset * DAY_MS // 20))
    return made


def test_a_replay_remembers_no_more_ids_than_the_windows_allow(long_lived: Partition) -> None:
    known = long_lived.successor().handling.known
    assert len(known) <= 2 * 20 * 2 + 50
    newest = 599
    assert all(known.find(f"c-{offset}") is not None for offset in range(newest - 20, newest + 1))


def test_progress_is_told_with_every_slice(long_lived: Partition) -> None:
    told: list[int] = []
    long_lived.successor(told.append)
    assert sum(told) == 300
    assert max(told) <= 50


def test_a_foreign_record_is_no_progress_and_holds_nothing_up(long_lived: Partition) -> None:
    told: list[int] = []
    replay = PartitionReplay(
        Counter, 0, Partition(long_lived.schemas).handling.memory, long_lived.codecs, TOPIC_ID, told.append
    )
    events = long_lived.log["sums.counter.events"]
    foreign = Record("e", 0, 2, 0, b"c-1", b"", ())
    replay.take_events([*events[:2], foreign, events[2]])
    assert sum(told) == 3
    assert replay.foreign == 1


def test_what_was_handled_and_forgotten_is_not_executed_by_a_successor(long_lived: Partition) -> None:
    successor = long_lived.successor()
    first = successor.command(0, 1, NOW_MS)
    assert successor.handling.known.find("c-0") is None
    assert successor.handle(first).status is Status.EXPIRED
    assert all(records == [] for records in successor.log.values())


def test_what_was_handled_within_the_window_without_leaving_a_trace_is_handled_again(long_lived: Partition) -> None:
    """A torn transaction may have kept a later command's events and lost this one's."""
    successor = long_lived.successor()
    lost = successor.command(598, 1, NOW_MS + 599 * DAY_MS // 20)
    headers = CommandHeaders("lost", "add", "/t", lost.timestamp_ms, None, 0, b"c" * 16)
    assert successor.handle(lost._replace(headers=command_headers(headers))).status is Status.ACCEPTED
