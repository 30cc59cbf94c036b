"""The aggregates of one partition: as the log has them, and as the batch being handled leaves them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final

from eventsource.commands.failures import code_of, text_of
from eventsource.commands.generations import Generations
from eventsource.domain import Aggregate, Event
from eventsource.domain.definition import AggregateDefinition
from eventsource.domain.purity import Outline, Purity, replaced_fields
from eventsource.errors import DecisionChangedState, ForkDetected, TransactionAborted

WHOLE_PARTITION: Final = ""
"""Among the stopped aggregates, it stands for all of the partition. No aggregate has an empty id."""

Written = list[tuple[Callable[[bytes], Event], bytes]]
"""Events as they were written: each one's value, and what reads it."""


@dataclass(slots=True, init=False)
class Current:
    """An aggregate at a version. `offset` is that of its newest event.

    In a batch that is not committed yet, `index` is that event's place among the batch's records, `commands` is how many changed
    the aggregate so far, `newest_command` the id of the last of these, and `written` their events: what the state is built from again
    when a later command fails.
    """

    state: Aggregate[Any]
    version: int
    offset: int
    index: int
    commands: int
    written: Written | None
    newest_command: str

    def __init__(self, state: Aggregate[Any], version: int, offset: int) -> None:  # written out, as that of `Answer`
        self.state = state
        self.version = version
        self.offset = offset
        self.index = -1
        self.commands = 0
        self.written = None
        self.newest_command = ""


@dataclass(slots=True, init=False)
class Decision:
    """What a command is decided on, and what that was before."""

    aggregate_id: str
    current: Current
    state: Aggregate[Any]
    fields: dict[str, Any] | None
    """The state's fields, where nothing in them can be changed; else None."""
    before: Aggregate[Any] | None
    """A twin of the state; None where its outline has to do."""
    outline: Outline | None

    def __init__(
        self,
        aggregate_id: str,
        current: Current,
        state: Aggregate[Any],
        fields: dict[str, Any] | None,
        before: Aggregate[Any] | None,
        outline: Outline | None,
    ) -> None:  # written out, as that of `Answer`
        self.aggregate_id = aggregate_id
        self.current = current
        self.state = state
        self.fields = fields
        self.before = before
        self.outline = outline


@dataclass(slots=True, init=False)
class _Twin:
    """A copy of an aggregate, `of` the entry that memory held when it was made: it is worth nothing once memory holds another."""

    aggregate_id: str
    of: Current
    current: Current

    def __init__(self, aggregate_id: str, of: Current, current: Current) -> None:  # written out, as that of `Answer`
        self.aggregate_id = aggregate_id
        self.of = of
        self.current = current


class AggregateStates:
    """Copy on write: a batch changes copies, which replace the originals only when its transaction has committed."""

    def __init__(self, definition: AggregateDefinition) -> None:
        self._definition = definition
        self._dispatch = definition.dispatch
        self._has_invariants = bool(definition.invariants)
        self.aggregates: Generations[str, Current] = Generations()
        self.stopped: dict[str, str] = {}
        """The stopped aggregates and why."""
        self._edited: dict[str, Current] = {}
        self._purity = Purity(definition.aggregate)
        self._twin: _Twin | None = None

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
        """Raises `ForkDetected` if the aggregate was stopped, or the whole partition."""
        reason = self.stopped.get(aggregate_id) or self.stopped.get(WHOLE_PARTITION)
        if reason is not None:
            raise ForkDetected(reason)

    def stop(self, aggregate_id: str, reason: str) -> None:
        """Stops an aggregate whose history cannot be trusted or read: its commands fail with this reason."""
        self.stopped.setdefault(aggregate_id, reason)

    # --- a batch -------------------------------------------------------------------------------------------------

    def begin_decision(self, aggregate_id: str, current: Current) -> Decision:
        """What to decide a command on: the state, or its copy where a decision may change something that is not seen to change.

        `end_decision` is to be called afterwards, whatever the decision raised.
        """
        state, purity = current.state, self._purity
        fields = purity.fields_if_unchangeable(state)
        if fields is not None:
            return Decision(aggregate_id, current, state, fields, None, None)
        if current.written is None:
            twin = Current(self._definition.copy(state), current.version, current.offset)
            self._twin = _Twin(
                aggregate_id, current, twin
            )  # what the events are applied to, if the decision left it as it was
            return Decision(aggregate_id, current, twin.state, None, state, None)
        if purity.is_small(state):
            return Decision(aggregate_id, current, state, None, self._definition.copy(state), None)
        return Decision(aggregate_id, current, state, None, None, Outline(state))

    def end_decision(self, decision: Decision) -> None:
        """Raises `DecisionChangedState` if the decision changed the aggregate, which then is as it was before."""
        current, state, fields = decision.current, decision.state, decision.fields
        changed: list[str] = []
        if fields is not None:
            changed = replaced_fields(fields, state.__dict__)
            if changed:
                state.__dict__.clear()
                state.__dict__.update(fields)
        elif decision.before is not None:
            changed = self._purity.changed_fields(decision.before, state)
            if changed and current.state is state:
                current.state = decision.before
            elif changed:
                self._twin = None
        elif decision.outline is not None:
            changed = decision.outline.changed_fields(state)
            if changed:
                self._restore(decision.aggregate_id, current)
        if changed:
            raise DecisionChangedState(f"{self._definition.name} {decision.aggregate_id!r}", changed)

    def apply(self, aggregate_id: str, events: tuple[Event, ...], first_index: int, written: Written) -> Current:
        """Applies one command's events, which are `written` in order, then checks the aggregate's invariants.

        Those that may hold something changeable must be nobody else's: the state may keep a part of them and change it later.

        If one of them cannot be applied or an invariant does not hold, the aggregate is as it was before this command, and
        what was raised comes through.
        """
        edited = self._edited.get(aggregate_id)
        current = edited if edited is not None else self._twin_of(aggregate_id)
        try:
            state = self._fold(current.state if current is not None else None, events)
            if self._has_invariants:
                self._dispatch.check_invariants(state)
        except BaseException:
            if edited is not None:
                self._restore(aggregate_id, edited)
            raise
        if current is None:
            current = Current(state, 0, -1)
        current.state = state
        current.version += len(events)
        current.index = first_index + len(events) - 1
        current.commands += 1
        if current.written is not None:
            current.written += written
        else:
            current.written = written
            self._edited[aggregate_id] = current
        return current

    def _restore(self, aggregate_id: str, edited: Current) -> None:
        """Builds an aggregate's state anew as the batch had left it before the command that failed: that one may have changed it half.

        Raises `TransactionAborted` where the same events do not apply twice. A batch of one command, as the owner comes to
        in the end, needs nothing of the kind.
        """
        try:
            before = self._copy(self.aggregates.get(aggregate_id))
            events = tuple([read(value) for read, value in edited.written or ()])
            edited.state = self._fold(before.state if before is not None else None, events)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise TransactionAborted(
                f"{self._definition.name} {aggregate_id!r}: events that could be applied cannot be applied again "
                f"({code_of(error)}): make its handlers depend on nothing but the state and the event"
            ) from error

    def _fold(self, state: Any, events: tuple[Event, ...]) -> Any:
        dispatch = self._dispatch
        for event in events:
            state = dispatch.evolve(state, event)
        return state

    def _twin_of(self, aggregate_id: str) -> Current | None:
        twin, self._twin = self._twin, None
        current = self.aggregates.get(aggregate_id)
        if (
            twin is not None
            and twin.aggregate_id == aggregate_id
            and twin.of is current
            and twin.current.version == current.version
        ):
            return twin.current
        return self._copy(current)

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
            if current.commands > most:
                found, most = aggregate_id, current.commands
        return found, most

    def commit(self, offsets: list[int]) -> None:
        """Keeps what the batch changed, whose records were given these offsets."""
        self._twin = None
        for current in self._edited.values():
            current.offset = offsets[current.index]
            current.index, current.commands, current.written, current.newest_command = -1, 0, None, ""
        self.aggregates.unsaved.update(self._edited)
        self._edited.clear()

    def rollback(self) -> None:
        """Forgets what the batch changed."""
        self._twin = None
        self._edited.clear()

    # --- a replay ------------------------------------------------------------------------------------------------

    def replay(self, aggregate_id: str, event: Event, version: int, offset: int) -> None:
        """Applies an event read back from the log. Whatever the event's handler raises stops the aggregate.

        A stopped aggregate's state may be half changed: nothing reads it any more, and no store that it is saved in is opened again.
        """
        self._twin = None
        current = self.aggregates.get(aggregate_id)
        try:
            state = self._dispatch.evolve(current.state if current is not None else None, event)
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
