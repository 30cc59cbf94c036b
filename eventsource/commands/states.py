"""The aggregates of one partition: as the log has them, and as the batch being handled leaves them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from eventsource.commands.generations import Generations
from eventsource.domain import Aggregate, Event
from eventsource.domain.definition import AggregateDefinition
from eventsource.errors import ForkDetected


@dataclass(slots=True)
class Current:
    """An aggregate at a version. `offset` is that of its newest event; `index` is that event's place in the batch until then."""

    state: Aggregate[Any]
    version: int
    offset: int
    index: int = -1


@dataclass(slots=True)
class _Edited:
    current: Current | None
    applied: list[tuple[tuple[Event, ...], int]]
    """The batch's events so far and the index of each command's first: what the state is built from anew."""


class AggregateStates:
    """Copy on write: a batch changes copies, which replace the originals only when its transaction has committed."""

    def __init__(self, definition: AggregateDefinition) -> None:
        self._definition = definition
        self.aggregates: Generations[str, Current] = Generations()
        self.stopped: dict[str, str] = {}
        """The stopped aggregates and why."""
        self._edited: dict[str, _Edited] = {}

    def find(self, aggregate_id: str) -> Current | None:
        """The aggregate as the commands handled so far leave it, or None where memory has none."""
        edited = self._edited.get(aggregate_id)
        if edited is not None:
            return edited.current
        return self.aggregates.unsaved.get(aggregate_id) or self.aggregates.get(aggregate_id)

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

    def apply(self, aggregate_id: str, events: tuple[Event, ...], first_index: int) -> Current:
        """Applies one command's events, then checks the aggregate's invariants.

        If one of them cannot be applied or an invariant does not hold, the aggregate is as it was before this command, and
        what was raised comes through.
        """
        edited = self._edited.get(aggregate_id)
        if edited is None:
            edited = self._edited[aggregate_id] = _Edited(self._copy(self.aggregates.get(aggregate_id)), [])
        try:
            current = self._evolved(edited.current, events, first_index)
            if self._definition.invariants:
                self._definition.check_invariants(current.state)
        except BaseException:
            edited.current = self._copy(self.aggregates.get(aggregate_id))
            for earlier, index in edited.applied:
                edited.current = self._evolved(edited.current, earlier, index)
            raise
        edited.current = current
        edited.applied.append((events, first_index))
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

    def commit(self, offsets: list[int]) -> None:
        """Keeps what the batch changed, whose records were given these offsets."""
        keep = self.aggregates.unsaved
        for aggregate_id, edited in self._edited.items():
            current = edited.current
            if current is not None and current.index >= 0:
                current.offset = offsets[current.index]
                current.index = -1
                keep[aggregate_id] = current
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
        except Exception as error:  # noqa: BLE001 - user code; kept as the reason that its commands are answered with
            self.stop(
                aggregate_id,
                f"{self._definition.name} {aggregate_id!r} is stopped: event {event.message_name!r} (version {version}, offset {offset}) "
                f"cannot be applied: {type(error).__name__}: {error}; mend the handler and start the worker again",
            )
            return
        self.aggregates.unsaved[aggregate_id] = Current(state, version, offset)

    def __len__(self) -> int:
        return len(self.aggregates)
