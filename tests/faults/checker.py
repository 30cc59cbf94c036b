"""The invariants, checked afterwards from what the topics hold and what the clients were told. No I/O.

I1  An aggregate's versions are 1…n, without a gap or a repeat, in the partition of its id.
I2  An OK reply stands for exactly its events, once; a command id has at most one effect, and one answer for ever.
I3  Nothing of an aborted transaction shows; events or outcome, and the offset, are there all or none.
I4  Money is conserved, and the events are those that the commands lead to, decided one after the other.
I6  The committed offset is one past the last command handled.
I7  Everything comes to rest: no lag, no open transaction.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from eventsource.commands.reply import Reply
from eventsource.commands.status import Status
from eventsource.domain import Aggregate, Command, Context, Event, Rejected
from eventsource.errors import AlreadyExists, DefinitionError, NotFound
from eventsource.log.partitioner import partition_for
from tests.faults.history import OK, UNKNOWN, Invocation, Result

Place = tuple[int, int]
"""Partition and offset."""


@dataclass(frozen=True, slots=True)
class LoggedCommand:
    """A record of the commands topic; `command` is None where it cannot be read."""

    place: Place
    aggregate_id: str
    command_id: str
    command: Command | None


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """A committed record of the events topic: event `index` of `count` of the command that stands at `origin`."""

    place: Place
    aggregate_id: str
    version: int
    command_id: str
    index: int
    count: int
    origin: Place
    event: Event


@dataclass(frozen=True, slots=True)
class LoggedOutcome:
    """A committed record of the outcomes topic."""

    place: Place
    aggregate_id: str
    command_id: str
    origin: Place
    status: Status


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the topics hold in the end. Records are in the order of the log.

    `committed` has the group's offset of each commands partition (None: none), `ends` the commands topic's. `open` are the topic
    partitions in which a transaction is open still. `aborted` are the places of events that no read_committed reader sees.
    """

    partitions: int
    commands: Sequence[LoggedCommand] = ()
    events: Sequence[LoggedEvent] = ()
    outcomes: Sequence[LoggedOutcome] = ()
    replies: Sequence[Reply] = ()
    committed: Mapping[int, int | None] = field(default_factory=dict)
    ends: Mapping[int, int] = field(default_factory=dict)
    open: Sequence[tuple[str, int]] = ()
    aborted: frozenset[Place] = frozenset()


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken invariant, and what shows it."""

    invariant: str
    text: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.text}"


class Checker:
    """Holds evidence and history against the invariants of an aggregate."""

    def __init__(
        self, aggregate: type[Aggregate[Any]], evidence: Evidence, history: Iterable[Invocation | Result] = ()
    ) -> None:
        self._definition = aggregate.__definition__
        self._evidence = evidence
        entries = list(history)
        self._invocations = [entry for entry in entries if isinstance(entry, Invocation)]
        self._results = [entry for entry in entries if isinstance(entry, Result)]

    def violations(self) -> list[Violation]:
        """All that is broken; empty when everything holds."""
        checks = {
            "I1": self._versions,
            "I2": self._effects,
            "I3": self._atomicity,
            "I4": self._money,
            "I6": self._offsets,
            "I7": self._rest,
        }
        return [Violation(invariant, text) for invariant, check in checks.items() for text in check()]

    # --- what was found, by command --------------------------------------------------------------------------------

    @cached_property
    def _events_of(self) -> dict[str, list[LoggedEvent]]:
        found: dict[str, list[LoggedEvent]] = defaultdict(list)
        for event in self._evidence.events:
            found[event.command_id].append(event)
        return found

    @cached_property
    def _outcomes_of(self) -> dict[str, list[LoggedOutcome]]:
        found: dict[str, list[LoggedOutcome]] = defaultdict(list)
        for outcome in self._evidence.outcomes:
            found[outcome.command_id].append(outcome)
        return found

    @cached_property
    def _traces(self) -> list[LoggedEvent | LoggedOutcome]:
        return [*self._evidence.events, *self._evidence.outcomes]

    @cached_property
    def _first_commands(self) -> dict[str, LoggedCommand]:
        found: dict[str, LoggedCommand] = {}
        for command in self._evidence.commands:
            found.setdefault(command.command_id, command)
        return found

    # --- the invariants ----------------------------------------------------------------------------------------------

    def _versions(self) -> Iterator[str]:
        found: dict[str, list[LoggedEvent]] = defaultdict(list)
        for event in self._evidence.events:
            found[event.aggregate_id].append(event)
        for aggregate_id, events in found.items():
            right = partition_for(aggregate_id.encode(), self._evidence.partitions)
            wrong = sorted({event.place[0] for event in events} - {right})
            if wrong:
                yield f"{aggregate_id} has events in {wrong}, and belongs to partition {right}"
            for expected, event in enumerate(events, 1):
                if event.version != expected:
                    what = "a gap" if event.version > expected else "a repeat"
                    yield f"{aggregate_id} has {what}: version {event.version} at {event.place}, where {expected} was due"
                    break

    def _effects(self) -> Iterator[str]:
        yield from self._at_most_one_effect()
        yield from self._causes()
        answers: dict[str, set[tuple[Any, ...]]] = defaultdict(set)
        for reply in self._evidence.replies:
            if reply.status is Status.COMMAND_ID_REUSED:
                continue
            answers[reply.command_id].add((reply.status, reply.version, reply.code, reply.details))
            place = (reply.partition, reply.offset)
            yield from self._answered(reply.command_id, reply.status is Status.ACCEPTED, reply.version, place, "reply")
        for result in self._results:
            if result.status in (UNKNOWN, "CommandIdReused"):
                continue
            place = (result.partition, result.offset)
            yield from self._answered(result.command_id, result.status == OK, result.version, place, "result")
        for command_id, found in answers.items():
            if len(found) > 1:
                yield f"command {command_id} was answered in {len(found)} ways: {sorted(found)}"

    def _at_most_one_effect(self) -> Iterator[str]:
        for command_id in self._events_of.keys() | self._outcomes_of.keys():
            events, outcomes = self._events_of.get(command_id, []), self._outcomes_of.get(command_id, [])
            indexes = Counter(event.index for event in events)
            repeated = sorted(index for index, times in indexes.items() if times > 1)
            if repeated:
                yield f"command {command_id} has its events {repeated} more than once: {[event.place for event in events]}"
            if len(outcomes) > 1:
                yield f"command {command_id} has {len(outcomes)} outcomes: {[outcome.place for outcome in outcomes]}"
            if events and outcomes:
                yield f"command {command_id} has events at {events[0].place} and an outcome at {outcomes[0].place}"

    def _causes(self) -> Iterator[str]:
        there = {command.place: command.command_id for command in self._evidence.commands}
        for trace in self._traces:
            if there.get(trace.origin) != trace.command_id:
                yield f"what stands at {trace.place} comes from {trace.origin}, where no command {trace.command_id} stands"

    def _answered(self, command_id: str, ok: bool, version: int, place: Place, what: str) -> Iterator[str]:
        events, outcomes = self._events_of.get(command_id, []), self._outcomes_of.get(command_id, [])
        if not ok:
            if events:
                yield f"the {what} to {command_id} says that it failed, and its events are at {[event.place for event in events]}"
            elif not outcomes:
                yield f"the {what} to {command_id} has no outcome"
        elif not events:
            if not any(outcome.status is Status.ACCEPTED for outcome in outcomes):
                lost = ", whose transaction was aborted" if place in self._evidence.aborted else ""
                yield f"the {what} to {command_id} is OK and its events are nowhere: it names {place}{lost}"
        elif (events[-1].version, events[-1].place) != (version, place):
            yield (
                f"the {what} to {command_id} names version {version} at {place}, its last event is version {events[-1].version} "
                f"at {events[-1].place}"
            )

    def _atomicity(self) -> Iterator[str]:
        for command_id, events in self._events_of.items():
            indexes = [event.index for event in events]
            if indexes != list(range(1, events[0].count + 1)):
                yield f"command {command_id} has events {indexes} of {events[0].count}"
        committed = self._evidence.committed
        for trace in self._traces:
            partition, offset = trace.origin
            if offset >= (committed.get(partition) or 0):
                yield (
                    f"{trace.place} shows what came of the command at {trace.origin}, and the committed offset is "
                    f"{committed.get(partition)}"
                )
        for command in self._first_commands.values():
            partition, offset = command.place
            if offset >= (committed.get(partition) or 0):
                continue
            command_id = command.command_id
            traces: list[LoggedEvent | LoggedOutcome] = [
                *self._events_of.get(command_id, []),
                *self._outcomes_of.get(command_id, []),
            ]
            if not traces:
                yield f"command {command.command_id} at {command.place} lies below the committed offset and left no trace"
            elif {trace.origin for trace in traces} != {command.place}:
                yield f"command {command.command_id} at {command.place} left traces that come from elsewhere: {traces}"

    def _money(self) -> Iterator[str]:
        folded: dict[str, Any] = {}
        for event in self._evidence.events:
            try:
                folded[event.aggregate_id] = self._definition.evolve(folded.get(event.aggregate_id), event.event)
            except DefinitionError as error:  # what should have been there before it is not
                yield f"{event.aggregate_id} cannot be folded at {event.place}: {error}"
        for aggregate_id, state in folded.items():
            if state.balance < 0:
                yield f"{aggregate_id} has the balance {state.balance}"
        told = self._told()
        for aggregate_id in told.keys() | (folded.keys() if self._results else set()):
            state = folded.get(aggregate_id)
            total = state.balance + state.savings if state is not None else 0
            if total != told.get(aggregate_id, 0):
                yield f"{aggregate_id} holds {total}, and by what its clients were told it holds {told.get(aggregate_id, 0)}"
        yield from self._decisions()

    def _told(self) -> dict[str, int]:
        sent = {invocation.command_id: invocation for invocation in self._invocations}
        totals: dict[str, int] = defaultdict(int)
        for command_id in {result.command_id for result in self._results if result.status == OK}:
            invocation = sent[command_id]
            sign = {"deposit": 1, "withdraw": -1}.get(invocation.kind, 0)
            totals[invocation.aggregate_id] += sign * invocation.amount
        return totals

    def _decisions(self) -> Iterator[str]:
        """Decides every command anew, one after the other, each once, and compares."""
        states: dict[str, Any] = {}
        versions: dict[str, int] = defaultdict(int)
        for command_id, logged in self._first_commands.items():
            outcomes = self._outcomes_of.get(command_id, [])
            refused = outcomes[0].status if outcomes else None
            if logged.command is None or refused in (Status.EXPIRED, Status.FAILED, Status.VERSION_CONFLICT):
                continue
            if logged.place[1] >= (self._evidence.committed.get(logged.place[0]) or 0):
                continue
            aggregate_id = logged.aggregate_id
            context = Context(
                id=aggregate_id,
                version=versions[aggregate_id],
                time=datetime.fromtimestamp(0, UTC),
                command_id=command_id,
                correlation_id=command_id,
            )
            due: list[Event] = []
            try:
                due = list(self._definition.decide(states.get(aggregate_id), logged.command, context))
            except (Rejected, NotFound, AlreadyExists) as refusal:
                if refused not in (Status.REJECTED, Status.NOT_FOUND, Status.ALREADY_EXISTS):
                    yield f"command {command_id} at {logged.place} is refused in its turn ({refusal}), and was not"
            found = [event.event for event in self._events_of.get(command_id, [])]
            if found != due:
                yield f"command {command_id} at {logged.place} leads to {due} in its turn, and its events are {found}"
            for event in due:
                states[aggregate_id] = self._definition.evolve(states.get(aggregate_id), event)
                versions[aggregate_id] += 1

    def _offsets(self) -> Iterator[str]:
        last: dict[int, int] = defaultdict(lambda: -1)
        for trace in self._traces:
            partition, offset = trace.origin
            last[partition] = max(last[partition], offset)
        for partition, end in self._evidence.ends.items():
            committed = self._evidence.committed.get(partition)
            if committed is None:
                if last[partition] >= 0:
                    yield f"partition {partition} has no committed offset, and commands up to {last[partition]} were handled"
            elif not last[partition] < committed <= end:
                yield (
                    f"partition {partition} has the committed offset {committed}; the last command handled is {last[partition]}, the "
                    f"end is {end}"
                )

    def _rest(self) -> Iterator[str]:
        for partition, end in self._evidence.ends.items():
            if (self._evidence.committed.get(partition) or 0) < end:
                yield f"partition {partition} has commands up to {end}, and {self._evidence.committed.get(partition)} are handled"
        for topic, partition in self._evidence.open:
            yield f"a transaction is open in {topic}[{partition}]"
