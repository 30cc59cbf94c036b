"""The aggregates of one partition: as the log has them, and as the batch being handled leaves them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from eventsource.commands.failures import code_of, text_of
from eventsource.commands.generations import Generations
from eventsource.domain import Aggregate, Event
from eventsource.domain.definition import AggregateDefinition
from eventsource.errors import ForkDetected, TransactionAborted

Reread = Callable[[], tuple[Event, ...]]
"""Reads a command's events anew from what was written, so that nobody else holds a part of them."""

_Applied = list[tuple[tuple[Event, ...], Reread | None, int]]


@dataclass(slots=True, init=False)
class Current:
    """An aggregate at a version. `offset` is that of its newest event.

    In a batch that is not committed yet, `index` is that event's place among the batch's records, and `applied` holds the events
    of each command so far, or how they are read anew, with the index of its first: what the state is built from again when a
    later command fails.
    """

    state: Aggregate[Any]
    version: int
    offset: int
    index: int
    applied: _Applied | None

    def __init__(self, state: Aggregate[Any], version: int, offset: int) -> None:  # written out, as that of `Answer`
        self.state = state
        self.version = version
        self.offset = offset
        self.index = -1
        self.applied = None


class AggregateStates:
    """Copy on write: a batch changes copies, which replace the originals only when its transaction has committed."""

    def __init__(self, definition: AggregateDefinition) -> None:
        self._definition = definition
        self.aggregates: Generations[str, Current] = Generations()
        self.stopped: dict[str, str] = {}
        """The stopped aggregates and why."""
        self._edited: dict[str, Current] = {}

    def find(self, aggregate_id: str) -> Current | None:
        """The aggregate as the commands handled so far leave it, or None where memory has none."""
        return (
            self._edited.get(aggregate_id)
            or self.aggregates.unsaved.get(aggregate_id)
            or self.aggregates.get(aggregate_id)
        )

    def absent(self, aggregate_ids: Iterable[str]) -> list[str]:
        """Those of the ids that memory does not hold."""
        edited, get = self._edited, self.aggregates.get
        return [id_ for id_ in dict.fromkeys(aggregate_ids) if id_ not in edited and get(id_) is None]

    def check(self, aggregate_id: str) -> None:
        """Raises `ForkDetected` if the aggregate was stopped."""
        reason = self.stopped.get(aggregate_id)
        if reason is not None:
            raise ForkDetected(reason)

    def stop(self, aggregate_id: str, reason: str) -> None:
        """Stops an aggregate whose history cannot be trusted or read: its commands fail with this reason."""
        self.stopped.setdefault(aggregate_id, reason)

    # --- a batch -------------------------------------------------------------------------------------------------

    def apply(
        self, aggregate_id: str, events: tuple[Event, ...], first_index: int, reread: Reread | None = None
    ) -> Current:
        """Applies one command's events, then checks the aggregate's invariants.

        Events that may hold something changeable must be nobody else's, and come with `reread`: the state may keep a part of
        them and change it later.

        If one of them cannot be applied or an invariant does not hold, the aggregate is as it was before this command, and
        what was raised comes through.
        """
        edited = self._edited.get(aggregate_id)
        before = edited if edited is not None else self._copy(self.aggregates.get(aggregate_id))
        try:
            after = self._evolved(before, events, first_index)
            if self._definition.invariants:
                self._definition.check_invariants(after.state)
        except BaseException:
            if edited is not None and edited.applied is not None:
                self._edited[aggregate_id] = self._built(aggregate_id, edited.applied)
            raise
        applied = (events if reread is None else (), reread, first_index)
        if edited is not None and edited.applied is not None:
            edited.applied.append(applied)
        else:
            after.applied = [applied]
            self._edited[aggregate_id] = after
        return after

    def _built(self, aggregate_id: str, applied: _Applied) -> Current:
        """The aggregate as the batch had left it before the command that failed: that one may have changed it half.

        Raises `TransactionAborted` where the same events do not apply twice. A batch of one command, as the owner comes to
        in the end, needs nothing of the kind.
        """
        current = self._copy(self.aggregates.get(aggregate_id))
        try:
            for events, reread, index in applied:
                current = self._evolved(current, events if reread is None else reread(), index)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise TransactionAborted(
                f"{self._definition.name} {aggregate_id!r}: events that could be applied cannot be applied again "
                f"({code_of(error)}): make its handlers depend on nothing but the state and the event"
            ) from error
        if current is None:
            raise TransactionAborted(f"{aggregate_id}: a batch that applied nothing is built anew: report this")
        current.applied = applied
        return current

    def _evolved(self, current: Current | None, events: tuple[Event, ...], index: int) -> Current:
        evolve = self._definition.evolve
        if current is None:
            current = Current(evolve(None, events[0]), 1, -1)
            events = events[1:]
            index += 1
        state = current.state
        for event in events:
            state = evolve(state, event)
        current.state = state
        current.version += len(events)
        current.index = index + len(events) - 1
        return current

    def _copy(self, current: Current | None) -> Current | None:
        if current is None:
            return None
        return Current(self._definition.copy(current.state), current.version, current.offset)

    @property
    def changed(self) -> Collection[Current]:
        """The aggregates that the batch changed, as it leaves them so far."""
        return self._edited.values()

    def hottest(self) -> tuple[str, int]:
        """The aggregate that most commands of the batch changed, and how many; `("", 0)` where none changed any."""
        found, most = "", 0
        for aggregate_id, current in self._edited.items():
            if current.applied is not None and len(current.applied) > most:
                found, most = aggregate_id, len(current.applied)
        return found, most

    def commit(self, offsets: list[int]) -> None:
        """Keeps what the batch changed, whose records were given these offsets."""
        for current in self._edited.values():
            current.offset = offsets[current.index]
            current.index, current.applied = -1, None
        self.aggregates.unsaved.update(self._edited)
        self._edited.clear()

    def rollback(self) -> None:
        """Forgets what the batch changed."""
        self._edited.clear()

    # --- a replay ------------------------------------------------------------------------------------------------

    def replay(self, aggregate_id: str, event: Event, version: int, offset: int) -> None:
        """Applies an event read back from the log. Whatever the event's handler raises stops the aggregate.

        A stopped aggregate's state may be half changed: nothing reads it any more, and it is never saved.
        """
        current = self.aggregates.get(aggregate_id)
        try:
            state = self._definition.evolve(current.state if current is not None else None, event)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - user code; kept as the reason that its commands are answered with
            self.stop(
                aggregate_id,
                f"{self._definition.name} {aggregate_id!r} is stopped: event {event.message_name!r} (version {version}, offset {offset}) "
                f"cannot be applied: {code_of(error)}: {text_of(error)}; mend the handler and start the worker again",
            )
            return
        self.aggregates.unsaved[aggregate_id] = Current(state, version, offset)

    def __len__(self) -> int:
        return len(self.aggregates)
