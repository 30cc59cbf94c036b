"""A partition's memory above a real store: what is on disk alone counts as if it were in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from structlog.testing import capture_logs

from eventsource.app import App
from eventsource.commands.aggregate_codecs import AggregateCodecs
from eventsource.commands.handled import Handled
from eventsource.commands.handling import CommandHandling
from eventsource.commands.memory import CHECKPOINT_COMMANDS
from eventsource.commands.memory_budget import MemoryBudget
from eventsource.commands.reply import Reply
from eventsource.commands.state_store import StateStore, StoreIdentity
from eventsource.commands.status import Status
from eventsource.domain import Aggregate, Command, Event, applies, creates, decides
from eventsource.errors import StateStoreFailed
from eventsource.log.headers import CommandHeaders, command_headers
from eventsource.log.record import Record
from eventsource.schemas import MemorySchemaStore, MessageCodec, StateCodec

NOW_MS = 1_700_000_000_000


class Add(Command, name="add"):
    amount: int


class Added(Event, name="added"):
    amount: int


class Exact(Aggregate, name="exact"):
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
    def add(self, command: Add) -> Added:
        return Added(amount=command.amount)

    @applies
    def on_added(self, event: Added) -> None:
        # A bool is an int in Python and none in Avro: such a state cannot be kept exactly.
        self.total = True if event.amount == 13 else self.total + event.amount


APP = App("sums", aggregates=[Exact], partitions=1, remember_commands_forever=[Exact])


class Partition:
    """Handling with a store below `folder`, as an owner has it; `restart` is what the next owner finds."""

    def __init__(self, folder: Path, budget_bytes: int) -> None:
        self.folder = folder
        self.budget = MemoryBudget(budget_bytes)
        self.schemas = MemorySchemaStore()
        self.codec = StateCodec(Exact, self.schemas)
        self.add = MessageCodec(Add, "add", self.schemas)
        self.offset = self.next_event = 0
        self.open()

    def open(self) -> None:
        self.handling = CommandHandling(
            APP,
            Exact,
            0,
            names=APP.names(),
            commands_topic_id=b"t" * 16,
            codecs=AggregateCodecs(Exact, self.schemas, self.codec),
            window_ms=None,
            max_event_bytes=900_000,
            budget=self.budget,
        )
        identity = StoreIdentity("exact", 0, "a", "b", "c", "d", None)
        self.handling.memory.attach(StateStore.open(self.folder, identity), self.codec)

    def restart(self) -> None:
        self.handling.memory.close()
        self.open()

    def command(self, aggregate_id: str, amount: int, command_id: str) -> Record:
        headers = command_headers(CommandHeaders(command_id, "add", "/t", NOW_MS, None, 0, b"c" * 16))
        self.offset += 1
        value = self.add.encode(Add(amount=amount))
        return Record("c", 0, self.offset - 1, NOW_MS, aggregate_id.encode(), value, headers)

    def handle(self, *batch: Record) -> Handled:
        return self.handling.handle(batch)

    def commit(self, handled: Handled) -> list[Reply]:
        offsets = list(range(self.next_event, self.next_event + handled.written))
        self.next_event += handled.written
        self.handling.commit(handled, offsets)
        return [reply for _, _, data in self.handling.replies(handled) for reply in Reply.decode_all(data)]

    def send(self, aggregate_id: str, amount: int, command_id: str) -> Reply:
        (reply,) = self.commit(self.handle(self.command(aggregate_id, amount, command_id)))
        return reply

    def checkpoint(self) -> None:
        self.handling.memory.checkpoint(0.0)

    def total(self, aggregate_id: str) -> int | None:
        current = self.handling.memory.find_aggregate(aggregate_id)
        return None if current is None else current.state.total  # type: ignore[attr-defined]


@pytest.fixture
def partition(tmp_path: Path) -> Iterator[Partition]:
    made = Partition(tmp_path / "db", 1 << 30)
    yield made
    made.handling.memory.close()


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[Partition]:
    """With room for nothing: every checkpoint ends an age."""
    made = Partition(tmp_path / "db", 1)
    yield made
    made.handling.memory.close()


def test_the_next_owner_finds_states_and_answers(partition: Partition) -> None:
    first = partition.send("a", 5, "c-1")
    partition.send("a", 6, "c-2")
    partition.checkpoint()
    position = partition.handling.memory.position.copy()
    partition.restart()
    assert partition.handling.memory.position == position
    assert partition.send("a", 7, "c-3").version == 3
    assert partition.total("a") == 18
    assert partition.send("a", 5, "c-1") == first
    assert partition.total("a") == 18


def test_another_content_under_an_id_that_is_on_disk_alone_is_refused(partition: Partition) -> None:
    partition.send("a", 5, "c-1")
    partition.checkpoint()
    partition.restart()
    assert partition.send("a", 999, "c-1").status is Status.COMMAND_ID_REUSED


def test_an_aggregate_that_is_on_disk_alone_exists(partition: Partition) -> None:
    """Found without being asked for in advance, too: else it would begin a second history."""
    partition.send("a", 5, "c-1")
    partition.checkpoint()
    partition.restart()
    assert partition.total("a") == 5
    assert partition.total("b") is None
    assert partition.handling.memory.find_answer("c-1") is not None
    assert partition.handling.memory.find_answer("c-2") is None


def test_what_is_not_committed_never_reaches_the_store(partition: Partition) -> None:
    partition.send("a", 5, "c-1")
    handled = partition.handle(partition.command("a", 6, "c-2"), partition.command("b", 7, "c-3"))
    partition.checkpoint()
    partition.restart()
    assert partition.total("a") == 5
    assert partition.total("b") is None
    assert partition.handling.memory.find_answer("c-2") is None
    del handled


def test_a_rolled_back_batch_leaves_the_store_as_it_was(partition: Partition) -> None:
    partition.send("a", 5, "c-1")
    partition.handle(partition.command("a", 6, "c-2"))
    partition.handling.rollback()
    partition.checkpoint()
    partition.restart()
    assert partition.total("a") == 5


def test_what_leaves_memory_is_found_on_disk(narrow: Partition) -> None:
    for number in range(50):
        narrow.send(f"a-{number}", number, f"c-{number}")
        narrow.checkpoint()
    memory = narrow.handling.memory
    assert len(memory.states) + len(memory.known) < 60
    for number in range(50):
        assert narrow.send(f"a-{number}", number, f"c-{number}").version == 1
        assert narrow.send(f"a-{number}", 1, f"d-{number}").version == 2
        assert narrow.total(f"a-{number}") == number + 1


def test_a_batch_asks_the_disk_once_for_all(narrow: Partition, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        narrow.send(f"a-{number}", 1, f"c-{number}")
        narrow.checkpoint()
    narrow.restart()
    store = narrow.handling.memory._store
    assert store is not None
    rocks, asked = store._database, []

    class Counting:
        def get(self, keys: list[bytes]) -> Any:
            asked.append(len(keys))
            return rocks.get(keys)

        def __getattr__(self, name: str) -> Any:
            return getattr(rocks, name)

    monkeypatch.setattr(store, "_database", Counting())
    batch = [narrow.command(f"a-{number}", 1, f"d-{number}") for number in range(25)]
    assert [reply.version for reply in narrow.commit(narrow.handle(*batch))] == [2] * 20 + [1] * 5
    assert asked == [25, 25]


def test_a_state_that_cannot_be_kept_exactly_stays_in_memory_and_costs_the_next_owner_a_replay(
    narrow: Partition,
) -> None:
    narrow.send("a", 5, "c-1")
    narrow.send("a", 13, "c-2")
    with capture_logs() as logs:
        narrow.checkpoint()
    assert [entry["event"] for entry in logs] == ["state_not_storable"]
    narrow.send("b", 1, "c-3")
    for _ in range(3):
        narrow.checkpoint()
    assert narrow.total("a") is True
    narrow.restart()
    assert narrow.handling.memory.position.events == -1


def test_a_snapshot_that_cannot_be_read_is_the_stores_fault(partition: Partition) -> None:
    partition.send("a", 5, "c-1")
    partition.checkpoint()
    store = partition.handling.memory._store
    assert store is not None
    store.write(partition.handling.memory.position.copy(), [("a", 1, 0, b"no snapshot")], {})
    partition.restart()
    with pytest.raises(StateStoreFailed, match="built anew"):
        partition.total("a")


def test_a_checkpoint_is_due_after_many_commands_some_time_or_a_pause(partition: Partition) -> None:
    memory = partition.handling.memory
    assert not memory.checkpoint_due(100.0, idle=True)
    partition.send("a", 5, "c-1")
    assert not memory.checkpoint_due(100.5, idle=True)
    assert memory.checkpoint_due(101.0, idle=True)
    assert not memory.checkpoint_due(104.9, idle=False)
    assert memory.checkpoint_due(105.0, idle=False)
    memory.checkpoint(105.0)
    assert not memory.checkpoint_due(200.0, idle=True)
    batch = [partition.command("a", 1, f"n-{number}") for number in range(CHECKPOINT_COMMANDS)]
    partition.commit(partition.handle(*batch))
    assert memory.checkpoint_due(200.0, idle=False)
