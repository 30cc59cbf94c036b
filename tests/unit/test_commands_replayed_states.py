"""After every command the state is what a replay makes of the log, whatever the events hold and whatever a decision tried."""

from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from typing import Any, Self

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventsource.app import App
from eventsource.commands.aggregate_codecs import AggregateCodecs
from eventsource.commands.builtin import APPEND, pack_events
from eventsource.commands.handling import CommandHandling
from eventsource.commands.history import AggregateHistory
from eventsource.commands.replaying import PartitionReplay
from eventsource.commands.status import Status
from eventsource.domain import Aggregate, Command, Event, Rejected, applies, creates, decides
from eventsource.errors import DefinitionError
from eventsource.log.headers import CommandHeaders, command_headers
from eventsource.log.record import Outgoing, Record
from eventsource.schemas import MemorySchemaStore, MessageCodec, StateCodec
from tests.exact_values import CASES, traced

NOW_MS = 1_700_000_000_000
quick = settings(max_examples=6, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])


class Partition:
    """The only partition of an aggregate, in memory."""

    def __init__(self, aggregate: type[Aggregate[Any]]) -> None:
        self.aggregate = aggregate
        self.app = App("shop", aggregates=[aggregate], partitions=1)
        self.schemas = MemorySchemaStore()
        try:
            self.state_codec = StateCodec(aggregate, self.schemas)
        except DefinitionError:  # the state of this one stays in memory
            self.state_codec = None
        self.codecs = AggregateCodecs(aggregate, self.schemas, self.state_codec)
        self.handling = self.owner()
        self.offset = 0
        self.log: dict[str, list[Record]] = {}

    def owner(self) -> CommandHandling:
        return CommandHandling(
            self.app,
            self.aggregate,
            0,
            names=self.app.names(),
            commands_topic_id=bytes(16),
            codecs=self.codecs,
            window_ms=None,
            max_event_bytes=900_000,
        )

    def take(self, *commands: Command) -> list[Status]:
        return self._take(
            [(c.message_name, MessageCodec(type(c), c.message_name, self.schemas).encode(c), None) for c in commands]
        )

    def append(self, *events: Event, expected_version: int) -> list[Status]:
        packed = pack_events(
            (e.message_name, MessageCodec(type(e), e.message_name, self.schemas).encode(e)) for e in events
        )
        return self._take([(APPEND, packed, expected_version)])

    def _take(self, commands: list[tuple[str, bytes, int | None]]) -> list[Status]:
        batch = []
        for type_, value, expected in commands:
            self.offset += 1
            headers = CommandHeaders(f"c-{self.offset}", type_, "/test", NOW_MS, expected)
            batch.append(Record("c", 0, self.offset, NOW_MS, b"a", value, command_headers(headers)))
        handled = self.handling.handle(batch)
        self.handling.commit(handled, [self._write(outgoing) for outgoing in handled.records])
        return handled.statuses

    def _write(self, outgoing: Outgoing) -> int:
        records = self.log.setdefault(outgoing.topic, [])
        records.append(
            Record(outgoing.topic, 0, len(records), NOW_MS, outgoing.key, outgoing.value, tuple(outgoing.headers))
        )
        return len(records) - 1

    def state(self) -> Any:
        return state_of(self.handling)

    def replayed(self) -> Any:
        handling = self.owner()
        replay = PartitionReplay(self.aggregate, 0, handling.memory, self.codecs, bytes(16))
        replay.take_events(self.log[self.app.names().events(self.aggregate.__definition__.name)])
        replay.finish()
        assert handling.states.stopped == {}
        return state_of(handling)

    def at_version(self, version: int) -> Any:
        history = AggregateHistory(self.aggregate, "a", self.codecs.events, at_version=version)
        for record in self.log[self.app.names().events(self.aggregate.__definition__.name)]:
            history.take(record)
        return history.loaded(bytes(16)).state


def state_of(handling: CommandHandling) -> Any:
    current = handling.states.find("a")
    assert current is not None
    return current.state


class Hold(Command, name="hold"):
    index: int


PLANNED: list[Any] = [None]
"""What the decisions of `holder_of` put into their events: a domain may make values that no command brings."""


@cache
def holder_of(annotation: Any) -> tuple[type[Aggregate[Any]], type[Event]]:
    class Held(Event, name="held", naive_datetimes=True):
        value: annotation  # type: ignore[valid-type]
        note: str = "n"

    class Holder(Aggregate, name="holder"):
        value: annotation  # type: ignore[valid-type]
        count: int = 0
        fields: tuple[str, ...] = ()

        @creates
        @classmethod
        def begin(cls, command: Hold) -> Held:
            return Held.model_construct(value=PLANNED[command.index])

        @creates
        @classmethod
        def on_begun(cls, event: Held) -> Self:
            return cls(value=event.value, fields=tuple(sorted(event.model_fields_set)))

        @decides
        def hold(self, command: Hold) -> list[Held]:
            event = Held.model_construct(value=PLANNED[command.index])
            return [event, event, Held.model_construct(value=self.value)]

        @applies
        def on_held(self, event: Held) -> None:
            if isinstance(self.value, list):
                self.value.append(event.value)  # a part of an earlier event, were it not the state's own
            self.value = event.value
            self.count += 1

    return Holder, Held


@pytest.mark.parametrize(
    ("annotation", "values"), CASES, ids=lambda value: None if isinstance(value, st.SearchStrategy) else str(value)
)
def test_the_state_is_what_a_replay_makes(annotation: Any, values: st.SearchStrategy[Any]) -> None:
    holder, held = holder_of(annotation)

    @quick
    @given(st.lists(values, min_size=2, max_size=3), st.booleans())
    def check(planned: list[Any], together: bool) -> None:
        PLANNED[:] = planned
        partition = Partition(holder)
        commands = [Hold(index=index) for index in range(len(planned))]
        statuses = partition.take(*commands) if together else [s for c in commands for s in partition.take(c)]
        if Status.ACCEPTED not in statuses:
            return  # a value that cannot be written fails its command: nothing was left
        current = partition.handling.states.find("a")
        assert current is not None
        state, version = current.state, current.version
        partition.append(held.model_construct(value=state.value), expected_version=version)
        state = partition.state()
        assert traced(state) == traced(partition.replayed())
        current = partition.handling.states.find("a")
        assert current is not None
        assert traced(state) == traced(partition.at_version(current.version))
        if partition.state_codec is not None:
            assert traced(partition.state_codec.decode(partition.state_codec.encode(state))) == traced(state)

    check()


# --- decisions that change the state -----------------------------------------------------------------------------


class Change(Command, name="change"):
    how: str
    refuse: bool = False


class Changed(Event, name="changed"):
    pass


class No(Rejected, code="no"):
    pass


@dataclass
class Line:
    count: int = 0


def _replace(state: Any) -> None:
    state.total += 1


def _same_number_otherwise_written(state: Any) -> None:
    state.price = Decimal("5")


def _grow(state: Any) -> None:
    state.items.append("x")


def _deep(state: Any) -> None:
    state.lines["a"].count += 1


def _reorder(state: Any) -> None:
    state.lines["a"] = state.lines.pop("a")


def _set(state: Any) -> None:
    state.seen.add(1)


def _queue(state: Any) -> None:
    state.queue.append(1)


def _attribute(state: Any) -> None:
    state.more = 1


def _remove(state: Any) -> None:
    del state.total


CHANGES = {
    change.__name__: change
    for change in (_replace, _same_number_otherwise_written, _grow, _deep, _reorder, _set, _queue, _attribute, _remove)
}


def _decide(state: Any, command: Change) -> Changed:
    if command.how:
        CHANGES[command.how](state)
    if command.refuse:
        raise No
    return Changed()


class Plain(Aggregate, name="plain"):
    total: int = 0
    price: Decimal = Decimal("5.00")

    @creates
    @classmethod
    def begin(cls, command: Change) -> Changed:
        return Changed()

    @creates
    @classmethod
    def on_begun(cls, event: Changed) -> Self:
        return cls()

    @decides
    def change(self, command: Change) -> Changed:
        return _decide(self, command)

    @applies
    def on_changed(self, event: Changed) -> None:
        self.total += 10


class Rich(Aggregate, name="rich"):
    total: int = 0
    price: Decimal = Decimal("5.00")
    items: list[str] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
    queue: deque[int] = field(default_factory=deque)
    lines: dict[str, Line] = field(default_factory=lambda: {"a": Line(), "b": Line()})

    @creates
    @classmethod
    def begin(cls, command: Change) -> Changed:
        return Changed()

    @creates
    @classmethod
    def on_begun(cls, event: Changed) -> Self:
        return cls()

    @decides
    def change(self, command: Change) -> Changed:
        return _decide(self, command)

    @applies
    def on_changed(self, event: Changed) -> None:
        self.total += 10
        self.items.append("y")


class Large(Rich, name="large"):
    @creates
    @classmethod
    def on_begun(cls, event: Changed) -> Self:
        return cls(items=["i"] * 1_000)


IN_PLAIN = [name for name in CHANGES if name in ("_replace", "_same_number_otherwise_written", "_attribute", "_remove")]


@pytest.mark.parametrize("refuse", [False, True], ids=["accepted", "refused"])
@pytest.mark.parametrize("batch", [1, 10], ids=["alone", "in one batch"])
@pytest.mark.parametrize(
    ("aggregate", "how"),
    [
        *((Plain, how) for how in IN_PLAIN),
        *((Rich, how) for how in CHANGES),
        *((Large, how) for how in CHANGES if how not in ("_deep", "_queue")),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_decision_that_changes_the_state_fails_its_command_and_leaves_the_state(
    aggregate: type[Aggregate[Any]], how: str, batch: int, refuse: bool
) -> None:
    partition = Partition(aggregate)
    commands = [Change(how=""), Change(how=""), Change(how=how, refuse=refuse), Change(how=""), Change(how="")]
    statuses = []
    for start in range(0, len(commands), batch):
        statuses += partition.take(*commands[start : start + batch])
    assert [status.name for status in statuses] == ["ACCEPTED", "ACCEPTED", "FAILED", "ACCEPTED", "ACCEPTED"]
    assert traced(partition.state()) == traced(partition.replayed())


@pytest.mark.parametrize("how", ["_deep", "_queue"])
def test_a_command_alone_in_its_batch_is_looked_at_as_deep_as_its_state_goes(how: str) -> None:
    partition = Partition(Large)
    partition.take(Change(how=""))
    assert partition.take(Change(how=how)) == [Status.FAILED]
    assert traced(partition.state()) == traced(partition.replayed())


@pytest.mark.parametrize("aggregate", [Plain, Rich, Large], ids=lambda value: value.__name__)
def test_a_refusal_leaves_everything_as_it_is(aggregate: type[Aggregate[Any]]) -> None:
    partition = Partition(aggregate)
    statuses = partition.take(Change(how=""), *[Change(how="", refuse=True)] * 3, Change(how=""))
    assert [status.name for status in statuses] == ["ACCEPTED", *["REJECTED"] * 3, "ACCEPTED"]
    assert traced(partition.state()) == traced(partition.replayed())
