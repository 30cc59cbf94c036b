"""Nothing keeps an owner from looking up: not slow commands, and not commands whose schemas nobody knows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Self

import pytest

from eventsource.app import App
from eventsource.commands.aggregate_codecs import AggregateCodecs
from eventsource.commands.builtin import APPEND, pack_events
from eventsource.commands.handling import CommandHandling
from eventsource.commands.status import Status
from eventsource.domain import Aggregate, Command, Event, creates
from eventsource.log.headers import CommandHeaders, command_headers
from eventsource.log.record import Record
from eventsource.schemas import MemorySchemaStore, MessageCodec
from eventsource.schemas.schema_text import SchemaText
from eventsource.testing import VirtualClock

NOW_MS = 1_700_000_000_000


class Open(Command, name="open"):
    pass


class Opened(Event, name="opened"):
    pass


class Account(Aggregate, name="account"):
    @creates
    @classmethod
    def open(cls, command: Open) -> Opened:
        return Opened()

    @creates
    @classmethod
    def on_opened(cls, event: Opened) -> Self:
        return cls()


APP = App("bank", aggregates=[Account], partitions=1)


class Schemas(MemorySchemaStore):
    """Notes with how much patience schemas are asked for that it does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[float | None] = []
        self.on_unknown: Callable[[], Any] = lambda: None

    def get(self, fingerprint: int, *, patience_seconds: float | None = None) -> SchemaText:
        if fingerprint not in self._schemas:
            self.waited.append(patience_seconds)
            self.on_unknown()
        return super().get(fingerprint, patience_seconds=patience_seconds)


class Partition:
    def __init__(self) -> None:
        self.schemas = Schemas()
        self.clock = VirtualClock()
        self.handling = CommandHandling(
            APP,
            Account,
            0,
            names=APP.names(),
            commands_topic_id=b"t" * 16,
            codecs=AggregateCodecs(Account, self.schemas),
            window_ms=None,
            max_event_bytes=900_000,
            clock=self.clock,
        )
        self.good = MessageCodec(Open, "open", self.schemas).encode(Open())
        self.event = MessageCodec(Opened, "opened", self.schemas).encode(Opened())

    def command(self, offset: int, value: bytes | None = None, type_: str = "open") -> Record:
        version = 0 if type_ == APPEND else None
        headers = CommandHeaders(f"c-{offset}", type_, "/t", NOW_MS, version, 0, b"c" * 16)
        value = self.good if value is None else value
        return Record("c", 0, offset, NOW_MS, b"a-%d" % offset, value, command_headers(headers))

    def unknown(self, offset: int) -> Record:
        return self.command(offset, b"\xc3\x01" + offset.to_bytes(8, "big"))


@pytest.fixture
def partition() -> Partition:
    return Partition()


def test_an_interrupted_batch_ends_with_the_command_at_hand(partition: Partition) -> None:
    partition.schemas.on_unknown = partition.handling.interrupt
    batch = [partition.command(0), partition.unknown(1), partition.command(2)]
    handled = partition.handling.handle(batch)
    assert (handled.next_offset, len(handled.statuses)) == (2, 2)
    assert partition.handling.deciding is None
    partition.handling.commit(handled, list(range(handled.written)))
    handled = partition.handling.handle([partition.command(2), partition.command(3)])
    assert (handled.next_offset, len(handled.statuses)) == (4, 2), "the next batch is whole"


def test_a_rolled_back_batch_takes_its_interruption_along(partition: Partition) -> None:
    partition.handling.interrupt()
    partition.handling.rollback()
    assert len(partition.handling.handle([partition.command(0), partition.command(1)]).statuses) == 2


def test_the_command_at_hand_can_be_seen_from_outside(partition: Partition) -> None:
    seen: list[str] = []

    def look() -> None:
        assert partition.handling.deciding is not None
        seen.append(partition.handling.deciding.headers.command_id)

    partition.schemas.on_unknown = look
    partition.handling.handle([partition.command(0), partition.unknown(1), partition.unknown(2)])
    assert seen == ["c-1", "c-2"]
    assert partition.handling.deciding is None


def test_of_many_unknown_schemas_one_is_waited_for(partition: Partition) -> None:
    handled = partition.handling.handle([partition.unknown(offset) for offset in range(20)])
    assert handled.statuses == [Status.FAILED] * 20
    assert partition.schemas.waited == [2] + [0] * 19
    partition.clock.advance(timedelta(seconds=30))
    partition.handling.handle([partition.unknown(20)])
    assert partition.schemas.waited[-1] == 2


def test_an_appended_event_of_an_unknown_schema_is_not_waited_for_again_either(partition: Partition) -> None:
    foreign = pack_events([("opened", b"\xc3\x01" + bytes(8))])
    partition.handling.handle([partition.command(offset, foreign, APPEND) for offset in range(3)])
    assert partition.schemas.waited == [2, 0, 0]
