"""A partition's log in memory and its owners, one after the other: what tests of take-overs share."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import Field

from eventsource.app import App
from eventsource.commands.aggregate_codecs import AggregateCodecs
from eventsource.commands.builtin import APPEND, LOAD, pack_events
from eventsource.commands.handling import CommandHandling
from eventsource.commands.memory_budget import MemoryBudget
from eventsource.commands.replaying import PartitionReplay
from eventsource.commands.reply import Reply
from eventsource.commands.state_store import StateStore, StoreIdentity
from eventsource.domain import Aggregate, Command, Event, Rejected, applies, creates, decides
from eventsource.log.headers import CommandHeaders, command_headers
from eventsource.log.record import Outgoing, Record
from eventsource.schemas import MemorySchemaStore, MessageCodec, StateCodec
from eventsource.testing.virtual_clock import VirtualClock

NOW_MS = 1_700_000_000_000
IDENTITY = StoreIdentity("counter", 0, "c", "e", "o", "code", None)


class Begin(Command, name="begin"):
    pass


class Count(Command, name="count"):
    times: int = 1
    notes: dict[str, float] = Field(default_factory=dict)


class Counted(Event, name="counted"):
    notes: dict[str, float] = Field(default_factory=dict)


class Refused(Rejected, code="refused"):
    count: int


class Counter(Aggregate, name="counter"):
    count: int = 0

    @creates
    @classmethod
    def begin(cls, command: Begin) -> Counted:
        return Counted()

    @creates
    @classmethod
    def on_begun(cls, event: Counted) -> Self:
        return cls()

    @decides
    def add(self, command: Count) -> list[Counted]:
        if command.times < 0:
            raise Refused(count=self.count)
        if command.times == 13:
            raise RuntimeError("unlucky")
        return [Counted(notes=command.notes)] * command.times

    @applies
    def on_counted(self, event: Counted) -> None:
        self.count += 1


APP = App("shop", aggregates=[Counter], partitions=1)
EVENTS, OUTCOMES = APP.names().events("counter"), APP.names().outcomes("counter")


class Log:
    """The log of the only partition, and the owners that it has one after the other."""

    def __init__(self, budget: MemoryBudget | None = None) -> None:
        self.budget = budget
        self.clock = VirtualClock()
        self.schemas = MemorySchemaStore()
        self.codecs = AggregateCodecs(Counter, self.schemas, StateCodec(Counter, self.schemas))
        self.records: dict[str, list[Record]] = {}
        self.offset = 0
        self.foreign: list[str] = []
        """Why records were found to be foreign by the owners so far."""

    def _note(self, _: Record, reason: str) -> None:
        self.foreign.append(reason)

    def owner(self, folder: Path | None = None, partitions: int = 1) -> CommandHandling:
        """An owner that takes over from the log, with the store in a folder if there is one."""
        owner = CommandHandling(
            APP,
            Counter,
            0,
            names=APP.names(),
            commands_topic_id=bytes(16),
            codecs=self.codecs,
            window_ms=None,
            max_event_bytes=900_000,
            budget=self.budget,
            clock=self.clock,
        )
        if folder is not None:
            assert self.codecs.state is not None
            owner.memory.attach(StateStore.open(folder, IDENTITY), self.codecs.state)
        position = owner.memory.position
        replay = PartitionReplay(
            Counter, 0, owner.memory, self.codecs, bytes(16), partitions=partitions, on_foreign=self._note
        )
        replay.plausibility.commands_end = self.offset + 1
        replay.take_events([r for r in self.records.get(EVENTS, ()) if r.offset >= position.events])
        replay.finish()
        replay.take_outcomes([r for r in self.records.get(OUTCOMES, ()) if r.offset >= position.outcomes])
        return owner

    def command(self, name: str, command: Any, key: str = "a", expected: int | None = None) -> Record:
        self.offset += 1
        if command is None:
            type_, value = LOAD, b""
        elif isinstance(command, Event):
            encoded = MessageCodec(type(command), command.message_name, self.schemas).encode(command)
            type_, value = APPEND, pack_events([(command.message_name, encoded)])
        else:
            type_ = command.message_name
            value = MessageCodec(type(command), type_, self.schemas).encode(command)
        headers = CommandHeaders(name, type_, "/t", NOW_MS, expected, 0, b"c" * 16)
        return Record("c", 0, self.offset, NOW_MS, key.encode(), value, command_headers(headers))

    def take(self, owner: CommandHandling, *batch: Record) -> list[Reply]:
        handled = owner.handle(batch)
        owner.commit(handled, [self._write(outgoing) for outgoing in handled.records])
        return [reply for _, _, data in owner.replies(handled) for reply in Reply.decode_all(data)]

    def _write(self, outgoing: Outgoing) -> int:
        records = self.records.setdefault(outgoing.topic, [])
        offset = 5 + 3 * len(records)  # markers take offsets, too
        records.append(Record(outgoing.topic, 0, offset, NOW_MS, outgoing.key, outgoing.value, tuple(outgoing.headers)))
        return offset
