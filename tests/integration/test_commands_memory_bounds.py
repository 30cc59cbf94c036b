"""A partition's memory stays within its budget, whatever fills it: loads, large states, a replay, ids of long ago."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
from structlog.testing import capture_logs

from eventsource.app import App
from eventsource.commands.aggregate_codecs import AggregateCodecs
from eventsource.commands.builtin import LOAD
from eventsource.commands.handling import CommandHandling
from eventsource.commands.memory import PartitionMemory
from eventsource.commands.memory_budget import MemoryBudget
from eventsource.commands.replaying import PartitionReplay
from eventsource.commands.reply import Reply
from eventsource.commands.state_store import StateStore, StoreIdentity
from eventsource.commands.status import Status
from eventsource.domain import Aggregate, Command, Event, creates
from eventsource.log.headers import CommandHeaders, command_headers
from eventsource.log.record import Record
from eventsource.schemas import MemorySchemaStore, MessageCodec, StateCodec

NOW_MS = 1_700_000_000_000
DAY_MS = 86_400_000
BUDGET_BYTES = 8 << 20
LARGE = 50_000
INEXACT = LARGE + 1


class Write(Command, name="write"):
    size: int


class Written(Event, name="written"):
    size: int


class Note(Aggregate, name="note"):
    text: str
    size: int

    @creates
    @classmethod
    def write(cls, command: Write) -> Written:
        return Written(size=command.size)

    @creates
    @classmethod
    def on_written(cls, event: Written) -> Self:
        # A bool is an int in Python and none in Avro: such a state cannot be kept exactly.
        return cls(text="x" * event.size, size=True if event.size == INEXACT else event.size)


APP = App("notes", aggregates=[Note], partitions=1)


class Partition:
    """A partition with a store below `folder` and a log; `restart` is what the next owner finds."""

    def __init__(self, folder: Path, window_ms: int | None = None) -> None:
        self.folder, self.window_ms = folder, window_ms
        self.schemas = MemorySchemaStore()
        self.codecs = AggregateCodecs(Note, self.schemas, StateCodec(Note, self.schemas))
        self.write = MessageCodec(Write, "write", self.schemas)
        self.commands: list[Record] = []
        self.events: list[Record] = []
        self.largest = 0
        self.open()

    def open(self) -> None:
        self.handling = CommandHandling(
            APP,
            Note,
            0,
            names=APP.names(),
            commands_topic_id=b"t" * 16,
            codecs=self.codecs,
            window_ms=self.window_ms,
            max_event_bytes=900_000,
            budget=MemoryBudget(BUDGET_BYTES),
        )
        assert self.codecs.state is not None
        identity = StoreIdentity("note", 0, "a", "b", "c", "d", self.window_ms)
        self.memory.attach(StateStore.open(self.folder, identity), self.codecs.state)

    @property
    def memory(self) -> PartitionMemory:
        return self.handling.memory

    def restart(self) -> None:
        self.memory.close()
        self.open()

    def command(self, aggregate_id: str, size: int = 0, type_: str = "write", at_ms: int = NOW_MS) -> Record:
        offset = len(self.commands)
        headers = CommandHeaders(f"c-{offset}", type_, "/t", at_ms, None, 0, b"c" * 16)
        value = self.write.encode(Write(size=size)) if type_ == "write" else b""
        record = Record("c", 0, offset, at_ms, aggregate_id.encode(), value, command_headers(headers))
        self.commands.append(record)
        return record

    def handle(self, *batch: Record) -> list[Reply]:
        """As an owner does between two looks at the clock: a batch, then a checkpoint where memory asks for one."""
        handled = self.handling.handle(batch)
        begin = len(self.events)
        for number, record in enumerate(handled.records):
            self.events.append(Record("e", 0, begin + number, NOW_MS, record.key, record.value, tuple(record.headers)))
        self.handling.commit(handled, list(range(begin, len(self.events))))
        self.note_largest()
        if self.memory.checkpoint_due(0.0, idle=False):
            self.memory.checkpoint(0.0)
        return [reply for _, _, data in self.handling.replies(handled) for reply in Reply.decode_all(data)]

    def note_largest(self) -> None:
        self.largest = max(self.largest, len(self.memory.states))


@pytest.fixture
def partition(tmp_path: Path) -> Iterator[Partition]:
    made = Partition(tmp_path / "db")
    yield made
    made.memory.close()


@pytest.fixture
def windowed(tmp_path: Path) -> Iterator[Partition]:
    made = Partition(tmp_path / "db", DAY_MS)
    yield made
    made.memory.close()


def test_large_states_are_saved_and_dropped_by_what_they_take(partition: Partition) -> None:
    for start in range(0, 1_000, 20):
        partition.handle(*(partition.command(f"n-{start + number}", LARGE) for number in range(20)))
    assert 40 < partition.largest <= BUDGET_BYTES // LARGE
    (reply,) = partition.handle(partition.command("n-0", type_=LOAD))
    assert (reply.status, reply.version) == (Status.ACCEPTED, 1)


def test_states_that_are_only_loaded_are_dropped_too(partition: Partition) -> None:
    for start in range(0, 400, 20):
        partition.handle(*(partition.command(f"n-{start + number}", LARGE) for number in range(20)))
    partition.memory.checkpoint(0.0)
    partition.restart()
    for start in range(0, 400, 20):
        loads = [partition.command(f"n-{start + number}", type_=LOAD) for number in range(20)]
        assert len(partition.handle(*loads)) == 20
        partition.note_largest()
    assert partition.largest > 40
    assert len(partition.memory.states) <= BUDGET_BYTES // LARGE


def test_a_replay_saves_and_drops_by_what_its_states_take(partition: Partition) -> None:
    for start in range(0, 600, 20):
        partition.handle(*(partition.command(f"n-{start + number}", LARGE) for number in range(20)))
    partition.memory.forget_all()
    told: list[int] = []
    replay = PartitionReplay(Note, 0, partition.memory, partition.codecs, b"t" * 16, told.append)
    largest = 0
    for start in range(0, 600, 200):  # each slice exceeds the budget by itself
        replay.take_events(partition.events[start : start + 200])
        largest = max(largest, len(partition.memory.states))
    assert largest <= BUDGET_BYTES // LARGE
    assert sum(told) == replay.events == 600
    assert len(told) > 3, "progress is told within a slice"
    partition.memory.checkpoint(0.0)
    partition.restart()
    assert partition.memory.position.events == 600
    assert partition.memory.position.newest_event[0] == 599
    assert len(partition.handle(*(partition.command(f"n-{number}", type_=LOAD) for number in range(10)))) == 10


def test_no_more_is_brought_in_at_once_than_a_batch_may_take(partition: Partition) -> None:
    memory = partition.memory
    assert memory.together == 32, "nothing is known of them yet"
    partition.handling.handle([partition.command("small"), partition.command("small too")])
    assert not memory.batch_is_large
    assert memory.together == 1_000
    partition.handling.rollback()
    partition.handle(*(partition.command(f"n-{number}", LARGE) for number in range(100)))
    assert 1 <= memory.together <= BUDGET_BYTES / 4 / LARGE
    assert not memory.batch_is_large
    partition.handling.handle([partition.command(f"m-{number}", LARGE) for number in range(60)])
    assert memory.batch_is_large
    partition.handling.rollback()
    assert not memory.batch_is_large


def test_what_a_batch_loads_counts(partition: Partition) -> None:
    partition.handle(*(partition.command(f"n-{number}", LARGE) for number in range(60)))
    partition.memory.checkpoint(0.0)
    partition.restart()
    handled = partition.handling.handle([partition.command(f"n-{number}", type_=LOAD) for number in range(60)])
    assert partition.memory.batch_is_large
    partition.handling.commit(handled, [])
    assert not partition.memory.batch_is_large


def test_a_state_that_cannot_be_written_exactly_makes_no_checkpoint_after_every_batch(partition: Partition) -> None:
    with capture_logs():
        partition.handle(*(partition.command(f"n-{number}", INEXACT) for number in range(200)))
    assert len(partition.memory.states.aggregates.unsaved) == 200
    assert len(partition.memory.states) == 200
    assert not partition.memory.too_much_unsaved


def test_a_command_read_again_after_its_id_was_forgotten_is_not_executed_again(windowed: Partition) -> None:
    old = windowed.command("n-0")
    windowed.handle(old)
    windowed.memory.checkpoint(0.0)
    windowed.handle(windowed.command("n-1", at_ms=NOW_MS + 3 * DAY_MS))
    for _ in range(2):
        windowed.handle(windowed.command("n-2", at_ms=NOW_MS + 3 * DAY_MS))
        windowed.memory.checkpoint(0.0)
    windowed.restart()
    assert windowed.memory.find_answer("c-0") is None
    written = len(windowed.events)
    (reply,) = windowed.handle(old)
    assert (reply.status, len(windowed.events)) == (Status.EXPIRED, written)
    # Whatever comes behind the newest one that was handled is new, however old it is.
    (reply,) = windowed.handle(windowed.command("n-3"))
    assert reply.status is Status.ACCEPTED
