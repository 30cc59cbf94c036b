"""One command id has one answer, field by field, from whichever owner it comes: the first, and the next with or without its disk."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Self

import pytest
from pydantic import Field

from eventsource.app import App
from eventsource.commands.aggregate_codecs import AggregateCodecs
from eventsource.commands.builtin import APPEND, LOAD, pack_events
from eventsource.commands.handling import CommandHandling
from eventsource.commands.replaying import PartitionReplay
from eventsource.commands.reply import Reply
from eventsource.commands.state_store import StateStore, StoreIdentity
from eventsource.commands.status import Status
from eventsource.domain import Aggregate, Command, Event, Rejected, applies, creates, decides
from eventsource.log.headers import CommandHeaders, command_headers
from eventsource.log.record import Outgoing, Record
from eventsource.schemas import MemorySchemaStore, MessageCodec, StateCodec

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

    def __init__(self) -> None:
        self.schemas = MemorySchemaStore()
        self.codecs = AggregateCodecs(Counter, self.schemas, StateCodec(Counter, self.schemas))
        self.records: dict[str, list[Record]] = {}
        self.offset = 0

    def owner(self, folder: Path | None = None) -> CommandHandling:
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
        )
        if folder is not None:
            assert self.codecs.state is not None
            owner.memory.attach(StateStore.open(folder, IDENTITY), self.codecs.state)
        position = owner.memory.position
        replay = PartitionReplay(Counter, 0, owner.memory, self.codecs, bytes(16))
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


def workload() -> list[tuple[str, Any, str, int | None]]:
    """Each kind of answer, before and after the aggregate moves on."""
    commands: list[tuple[str, Any, str, int | None]] = [
        ("not-found", Count(), "a", None),
        ("nothing-yet", Count(), "b", None),
        ("begun", Begin(), "a", None),
    ]
    for turn in range(3):
        commands += [
            (f"one-{turn}", Count(), "a", None),
            (f"several-{turn}", Count(times=3), "a", None),
            (f"none-{turn}", Count(times=0), "a", None),
            (f"none-again-{turn}", Count(times=0), "a", None),
            (f"rejected-{turn}", Count(times=-1), "a", None),
            (f"conflict-{turn}", Count(), "a", 1),
            (f"failed-{turn}", Count(times=13), "a", None),
            (f"exists-{turn}", Begin(), "a", None),
            (f"stale-append-{turn}", Counted(), "a", 1),
            (f"loaded-{turn}", None, "a", None),
        ]
    return [*commands, ("last", Count(times=2), "a", None), ("begun-late", Begin(), "b", None)]


@pytest.mark.parametrize("seed", range(6))
def test_every_owner_gives_the_first_answer(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    log = Log()
    owner = log.owner(tmp_path / "db")
    commands = workload()
    first: list[Reply] = []
    start = 0
    checkpoint_at = chance.randrange(len(commands))
    while start < len(commands):
        size = chance.choice([1, 1, 2, 5, len(commands)])
        first += log.take(owner, *(log.command(*command) for command in commands[start : start + size]))
        if start <= checkpoint_at < start + size:
            owner.memory.checkpoint(0.0)
        start += size
    assert {reply.status for reply in first} == set(Status) - {Status.EXPIRED, Status.COMMAND_ID_REUSED}
    remembered = [(name, command, key, expected) for name, command, key, expected in commands if command is not None]
    wanted = [reply for reply in first if not reply.command_id.startswith("loaded")]

    def answers(of: CommandHandling) -> list[Reply]:
        return log.take(of, *(log.command(*command) for command in remembered))

    assert answers(owner) == wanted
    before = log.take(owner, log.command("load", None))
    owner.memory.close()
    without_disk = log.owner()
    assert answers(without_disk) == wanted
    with_disk = log.owner(tmp_path / "db")
    assert answers(with_disk) == wanted
    assert log.take(without_disk, log.command("load", None)) == before
    assert log.take(with_disk, log.command("load", None)) == before
    with_disk.memory.close()


def test_an_outcome_of_a_version_before_has_its_offset_where_the_aggregate_did_not_move_on() -> None:
    log = Log()
    owner = log.owner()
    first = log.take(owner, log.command("begun", Begin()), log.command("none", Count(times=0)))
    (record,) = log.records[OUTCOMES]
    outcome = log.codecs.outcomes.decode(record.value or b"")
    assert (outcome.offset, outcome.newest_command) == (-1, "begun")
    written_before = log.codecs.outcomes.encode(outcome.model_copy(update={"newest_command": ""}))
    log.records[OUTCOMES] = [record._replace(value=written_before)]
    assert log.take(log.owner(), log.command("none", Count(times=0))) == first[1:]


def test_a_command_whose_dict_comes_in_another_order_is_the_same_command() -> None:
    log = Log()
    owner = log.owner()
    log.take(owner, log.command("begun", Begin()))
    one, other = {"tea": 0.0, "pot": 2.0}, {"pot": 2.0, "tea": -0.0}
    for name, times, expected in (("accepted", 1, None), ("none", 0, None), ("rejected", -1, None), ("old", 1, 0)):
        (first,) = log.take(owner, log.command(name, Count(times=times, notes=one), "a", expected))
        for each in (owner, log.owner()):
            (again,) = log.take(each, log.command(name, Count(times=times, notes=other), "a", expected))
            # A reply names the bytes that it answers: a client finds its command by them.
            assert again._replace(body_hash=first.body_hash) == first
            assert again.body_hash != first.body_hash
            (reused,) = log.take(each, log.command(name, Count(times=times, notes={"tea": 1.0}), "a", expected))
            assert reused.status is Status.COMMAND_ID_REUSED
    (first,) = log.take(owner, log.command("append", Counted(notes=one), "a", 2))
    (again,) = log.take(log.owner(), log.command("append", Counted(notes=other), "a", 2))
    assert again._replace(body_hash=first.body_hash) == first


def test_a_repetition_of_a_command_that_a_version_before_handled_is_known() -> None:
    log = Log()
    owner = log.owner()
    log.take(owner, log.command("begun", Begin()))
    record = log.command("old", Count(notes={"tea": 1.0, "pot": 2.0}))
    raw = owner._contents
    owner._contents = _AsSent()  # type: ignore[assignment]  # that version took the hash of the bytes
    first = log.take(owner, record)
    owner._contents = raw
    assert log.take(owner, record) == first
    assert log.take(log.owner(), record) == first


class _AsSent:
    def of(self, request: Any) -> bytes:
        return bytes(request.body_hash)
