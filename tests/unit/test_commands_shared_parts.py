"""What an event holds and what a state holds are two things, as they are after a replay: memory never differs from the log."""

from __future__ import annotations

from typing import Any, Self

import pytest
from pydantic import BaseModel, ConfigDict

from eventsource.app import App
from eventsource.commands.aggregate_codecs import AggregateCodecs
from eventsource.commands.handling import CommandHandling
from eventsource.commands.replaying import PartitionReplay
from eventsource.domain import Aggregate, Command, Event, applies, creates, decides, invariant
from eventsource.log.headers import CommandHeaders, command_headers
from eventsource.log.record import Outgoing, Record
from eventsource.schemas import MemorySchemaStore, MessageCodec

NOW_MS = 1_700_000_000_000
EVENTS, OUTCOMES = "shop.basket.events", "shop.basket.outcomes"


class Line(BaseModel):
    item: str
    count: int = 1


class Label(BaseModel):
    model_config = ConfigDict(frozen=True)
    words: list[str]


class Make(Command, name="make"):
    items: list[str]


class Add(Command, name="add"):
    item: str


class Keep(Command, name="keep"):
    """Its event holds a part of the state."""


class Twice(Command, name="twice"):
    """One event object, two times."""


class Clear(Command, name="clear"):
    """One event object for all."""


class Made(Event, name="made"):
    items: list[str]
    line: Line
    label: Label


class Added(Event, name="added"):
    item: str


class Kept(Event, name="kept"):
    line: Line
    label: Label


class Drawn(Event, name="drawn"):
    line: Line


class Cleared(Event, name="cleared"):
    items: list[str]


CLEARED = Cleared(items=[])


class Basket(Aggregate, name="basket"):
    items: list[str]
    line: Line
    label: Label
    kept: list[Line]
    labels: list[Label]

    @creates
    @classmethod
    def make(cls, command: Make) -> Made:
        return Made(items=command.items, line=Line(item="first"), label=Label(words=[]))

    @creates
    @classmethod
    def on_made(cls, event: Made) -> Self:
        return cls(items=event.items, line=event.line, label=event.label, kept=[], labels=[])

    @decides
    def add(self, command: Add) -> Added:
        return Added(item=command.item)

    @decides
    def keep(self, command: Keep) -> Kept:
        return Kept(line=self.line, label=self.label)

    @decides
    def twice(self, command: Twice) -> list[Drawn]:
        return [Drawn(line=self.line)] * 2

    @decides
    def clear(self, command: Clear) -> Cleared:
        return CLEARED

    @applies
    def on_added(self, event: Added) -> None:
        self.items.append(event.item)
        self.line.count += 1
        self.label.words.append(event.item)
        for line in self.kept[1:]:
            line.count += 10
        if event.item == "poison":
            raise RuntimeError("cannot hold that")

    @applies
    def on_kept(self, event: Kept) -> None:
        self.kept.append(event.line)
        self.labels.append(event.label)

    @applies
    def on_drawn(self, event: Drawn) -> None:
        self.kept.append(event.line)

    @applies
    def on_cleared(self, event: Cleared) -> None:
        self.items = event.items

    @invariant
    def is_small(self) -> bool:
        return len(self.items) < 4


APP = App("shop", aggregates=[Basket], partitions=1)


class Partition:
    """The only partition, in memory."""

    def __init__(self) -> None:
        self.schemas = MemorySchemaStore()
        self.codecs = AggregateCodecs(Basket, self.schemas)
        self.handling = self._handling()
        self.offset = 0
        self.log: dict[str, list[Record]] = {EVENTS: [], OUTCOMES: [], "shop.basket.dead-letters": []}

    def _handling(self) -> CommandHandling:
        return CommandHandling(
            APP,
            Basket,
            0,
            names=APP.names(),
            commands_topic_id=bytes(16),
            codecs=self.codecs,
            window_ms=None,
            max_event_bytes=900_000,
        )

    def take(self, commands: list[tuple[str, Command]]) -> list[str]:
        handled = self.handling.handle([self._record(key, command) for key, command in commands])
        self.handling.commit(handled, [self._append(outgoing) for outgoing in handled.records])
        return [status.name for status in handled.statuses]

    def _record(self, key: str, command: Command) -> Record:
        self.offset += 1
        headers = CommandHeaders(f"c-{self.offset}", command.message_name, "/test", NOW_MS)
        value = MessageCodec(type(command), command.message_name, self.schemas).encode(command)
        return Record("shop.basket.commands", 0, self.offset, NOW_MS, key.encode(), value, command_headers(headers))

    def _append(self, outgoing: Outgoing) -> int:
        records = self.log[outgoing.topic]
        records.append(
            Record(outgoing.topic, 0, len(records), NOW_MS, outgoing.key, outgoing.value, tuple(outgoing.headers))
        )
        return len(records) - 1

    def states(self) -> dict[str, Any]:
        return _states(self.handling)

    def states_of_the_log(self) -> dict[str, Any]:
        handling = self._handling()
        replay = PartitionReplay(Basket, 0, handling.memory, self.codecs, bytes(16))
        replay.take_events(self.log[EVENTS])
        replay.take_outcomes(self.log[OUTCOMES])
        replay.finish()
        assert handling.states.stopped == {}
        return _states(handling)


def _states(handling: CommandHandling) -> dict[str, Any]:
    found = {id_: handling.states.find(id_) for id_ in ("a", "b")}
    return {id_: (current.version, current.state) for id_, current in found.items() if current is not None}


ADD, POISON = Add(item="x"), Add(item="poison")
MAKE, KEEP, TWICE, CLEAR = Make(items=["i"]), Keep(), Twice(), Clear()


@pytest.mark.parametrize("batch_size", [100, 1], ids=["in one batch", "each alone"])
@pytest.mark.parametrize(
    "commands",
    [
        pytest.param([MAKE, ADD, POISON], id="a list that a later event changes, before one that cannot be applied"),
        pytest.param([MAKE, ADD, ADD, ADD], id="a list that a later event changes, before a broken invariant"),
        pytest.param([MAKE, KEEP, ADD, POISON, ADD], id="an event that holds a part of the state"),
        pytest.param([MAKE, TWICE, ADD, POISON], id="an event that comes twice"),
        pytest.param([MAKE, KEEP, KEEP, TWICE, ADD], id="nothing that fails"),
    ],
)
def test_memory_is_what_a_replay_makes(commands: list[Command], batch_size: int) -> None:
    partition = Partition()
    todo = [("a", command) for command in commands]
    for start in range(0, len(todo), batch_size):
        partition.take(todo[start : start + batch_size])
    assert partition.states() == partition.states_of_the_log()


def test_aggregates_that_are_given_one_event_object_do_not_share_it() -> None:
    partition = Partition()
    statuses = partition.take(
        [("a", MAKE), ("b", MAKE), ("a", CLEAR), ("b", CLEAR), ("a", ADD), ("b", ADD), ("a", CLEAR)]
    )
    assert statuses == ["ACCEPTED"] * 7
    assert Cleared(items=[]) == CLEARED
    assert partition.states() == partition.states_of_the_log()


def test_a_batch_that_is_rolled_back_has_not_changed_what_its_events_hold_of_the_state() -> None:
    partition = Partition()
    partition.take([("a", MAKE), ("a", KEEP)])
    before = partition.states_of_the_log()
    partition.handling.handle([partition._record("a", command) for command in (TWICE, KEEP, ADD)])
    partition.handling.rollback()
    assert partition.states() == before
