"""What the owner of a partition knows: aggregates, answers, and up to where in the log that is so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from itertools import islice
from typing import Any, Final

import structlog

from eventsource.clock import Clock
from eventsource.commands.deduplication import Answer, Deduplication
from eventsource.commands.memory_budget import MemoryBudget, StateSizes, size_bytes
from eventsource.commands.request import Request
from eventsource.commands.state_store import StateStore, StorePosition
from eventsource.commands.states import AggregateStates, Current
from eventsource.commands.store_health import StoreHealth
from eventsource.domain.definition import AggregateDefinition
from eventsource.errors import EncodeError, SchemaError, StateStoreFailed
from eventsource.schemas import StateCodec

_log = structlog.get_logger("eventsource.state_store")

CHECKPOINT_COMMANDS: Final = 20_000
"""How many commands may be handled before the store takes them in, and so what a restart reads again at most."""
CHECKPOINT_SECONDS: Final = 5.0
IDLE_CHECKPOINT_SECONDS: Final = 1.0
# Of an aggregate besides its state: id, version, offset, their place in the map, and the collector's own.
_CURRENT_BYTES: Final = 350
# Of an owner's share of the budget. What is unsaved is encoded by a checkpoint, and so takes its place twice for a moment.
_UNSAVED_SHARE: Final = 0.25
_BATCH_SHARE: Final = 0.25
_YOUNG_SHARE: Final = 0.4
_ALL_SHARE: Final = 0.9
# A share that is smaller still buys batches and checkpoints that are worth their round trips.
_LEAST_BYTES: Final = 1 << 20
_SAMPLE_ONE_IN: Final = 64
_FIRST_TOGETHER: Final = 32
_MOST_TOGETHER: Final = 1_000


class PartitionMemory:
    """States and answers of one partition. With a store, what was not used lately is on disk alone.

    Belongs to one thread. Reading and writing the store raises `StateStoreFailed`.
    """

    def __init__(
        self,
        definition: AggregateDefinition[Any],
        window_ms: int | None,
        budget: MemoryBudget | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._definition = definition
        self._window_ms = window_ms
        self._budget = budget
        self._store: StateStore | None = None
        self._codec: StateCodec[Any] | None = None
        self._open: Callable[[], StateStore] | None = None
        self.health = StoreHealth(definition.name, clock)
        self._clear()

    def _clear(self) -> None:
        self.states = AggregateStates(self._definition)
        self.known = Deduplication(self._window_ms)
        self.position = StorePosition()
        self._hits = self._misses = self._written_bytes = 0
        self._absent_aggregates: set[str] = set()
        self._absent_answers: set[str] = set()
        self._sizes = StateSizes()
        self._until_sample = 0
        self._loaded_bytes = 0.0
        self._pinned: dict[str, Current] = {}
        self._saved_at = 0.0

    def attach(self, store: StateStore, codec: StateCodec[Any]) -> None:
        """Begins anew with what the store holds, and keeps it in step from now on."""
        self._store, self._codec = store, codec
        self._clear()
        if store.position is not None:
            self.position = store.position.copy()
            self.known.newest_ms = store.position.newest_ms
            self.states.aggregates.complete = self.known.answers.complete = False

    def go_on_without(
        self, error: StateStoreFailed, codec: StateCodec[Any], open_store: Callable[[], StateStore]
    ) -> None:
        """Begins with nothing, and with no store; `open_store` is tried from time to time, and gives an empty one."""
        self._store, self._codec, self._open = None, codec, open_store
        self.health.failed(str(error))
        self._clear()

    def forget_all(self) -> None:
        """Begins anew with nothing: the log is to be read from its first record."""
        if self._store is not None:
            self._store.reset()
        self._clear()

    def close(self) -> None:
        """Closes the store, without writing to it."""
        if self._store is not None:
            self._store.close()

    # --- looking up ----------------------------------------------------------------------------------------------

    def prefetch(self, requests: Sequence[Request]) -> None:
        """Reads from disk, in one go, what a batch will ask for and memory does not hold."""
        self.prefetch_aggregates(request.aggregate_id for request in requests)
        self._prefetch_answers(request.headers.command_id for request in requests)

    def prefetch_aggregates(self, aggregate_ids: Iterable[str]) -> None:
        """Reads those aggregates from disk that memory does not hold."""
        if self._store is None or self.states.aggregates.complete:
            return
        absent = self.states.absent(aggregate_ids)
        found = self._store.aggregates(absent)
        for id_, (version, offset, snapshot) in found.items():
            self._take(id_, version, offset, snapshot)
        self._count(absent, found)
        # Of this look alone: what was absent once may have come, been saved and left memory since.
        self._absent_aggregates = {id_ for id_ in absent if id_ not in found}

    def _prefetch_answers(self, command_ids: Iterable[str]) -> None:
        if self._store is None or self.known.answers.complete:
            return
        absent = self.known.absent(command_ids)
        found = self._store.answers(absent)
        for id_, answer in found.items():
            self.known.add_saved(id_, answer)
        self._count(absent, found)
        self._absent_answers = {id_ for id_ in absent if id_ not in found}

    def _count(self, asked: Sized, found: Sized) -> None:
        self._hits += len(found)
        self._misses += len(asked) - len(found)

    def take_lookups(self) -> tuple[int, int]:
        """How many keys the store held, and did not hold, of those that it was asked for since the last time."""
        lookups = self._hits, self._misses
        self._hits = self._misses = 0
        return lookups

    def find_aggregate(self, aggregate_id: str) -> Current | None:
        """The aggregate as the commands handled so far leave it, or None where it does not exist."""
        states = self.states
        found = states.find(aggregate_id)
        if found is not None or states.aggregates.complete or aggregate_id in self._absent_aggregates:
            return found
        self.prefetch_aggregates((aggregate_id,))
        return states.find(aggregate_id)

    def find_answer(self, command_id: str) -> Answer | None:
        """The first answer to a command, if it was handled before."""
        known = self.known
        found = known.find(command_id)
        if found is not None or known.answers.complete or command_id in self._absent_answers:
            return found
        self._prefetch_answers((command_id,))
        return known.find(command_id)

    def _take(self, aggregate_id: str, version: int, offset: int, snapshot: bytes) -> None:
        if self._codec is None:
            return
        try:
            state = self._codec.decode(snapshot)
        except SchemaError as error:
            raise StateStoreFailed(
                f"the stored state of {self._definition.name} {aggregate_id!r} cannot be read ({error}): the store is built "
                "anew from the log"
            ) from error
        sizes = self._sizes
        if sizes.unknown or self._is_sample(1) >= 0:
            sizes.note(size_bytes(state), len(snapshot))
        taken_bytes = sizes.estimate_bytes(len(snapshot)) + _CURRENT_BYTES
        self._loaded_bytes += taken_bytes
        self.states.aggregates.add_saved(aggregate_id, Current(state, version, offset), taken_bytes)

    # --- a batch -------------------------------------------------------------------------------------------------

    def commit(
        self,
        offsets: list[int],
        newest_event: tuple[int, str] | None,
        newest_outcome: tuple[int, str] | None,
        last_origin: int,
    ) -> None:
        """Keeps what a batch changed, whose records stand at these offsets in the log.

        The newest event and outcome are given by their index among the records and their `ce_id`; `last_origin` is the offset
        of the newest command that left one.
        """
        self._sample_changed()
        self.states.commit(offsets)
        self.known.commit(offsets)
        position = self.position
        position.last_origin = max(position.last_origin, last_origin)
        if newest_event is not None:
            index, ce_id = newest_event
            position.events, position.newest_event = offsets[index] + 1, (offsets[index], ce_id)
        if newest_outcome is not None:
            index, ce_id = newest_outcome
            position.outcomes, position.newest_outcome = offsets[index] + 1, (offsets[index], ce_id)
        self._end_batch()
        self.shrink()

    def rollback(self) -> None:
        """Forgets what a batch changed."""
        self.states.rollback()
        self.known.rollback()
        self._end_batch()

    def _end_batch(self) -> None:
        self._absent_aggregates.clear()
        self._absent_answers.clear()
        self._loaded_bytes = 0.0

    # --- the budget ----------------------------------------------------------------------------------------------

    def _is_sample(self, entries: int) -> int:
        """The place among so many further entries of one that is to be measured, or -1."""
        place = self._until_sample
        if place >= entries:
            self._until_sample = place - entries
            return -1
        self._until_sample = _SAMPLE_ONE_IN - 1 - (entries - 1 - place) % _SAMPLE_ONE_IN
        return place

    def _sample_changed(self) -> None:
        changed = self.states.changed
        first = self._is_sample(len(changed))
        if first >= 0:
            for current in islice(changed, first, None, _SAMPLE_ONE_IN):
                self._note_state(current)

    def note_replayed(self, aggregate_ids: Sequence[str]) -> None:
        """These aggregates were just brought up from the log: some of them are measured."""
        first = self._is_sample(len(aggregate_ids))
        if first >= 0:
            for aggregate_id in aggregate_ids[first::_SAMPLE_ONE_IN]:
                current = self.states.aggregates.unsaved.get(aggregate_id)
                if current is not None:
                    self._note_state(current)

    def _note_state(self, current: Current) -> None:
        self.states.aggregates.note(size_bytes(current.state) + _CURRENT_BYTES)

    def _share_bytes(self) -> float:
        if self._budget is None or (self._store is None and self._open is None):
            return float("inf")
        return float(self._budget.share_bytes)

    def _part_bytes(self, part: float) -> float:
        return max(float(_LEAST_BYTES), self._share_bytes() * part)

    @property
    def together(self) -> int:
        """How many aggregates may be brought into memory at once, by what they take: never less than one."""
        largest = max(self.states.aggregates.entry_bytes, self.states.aggregates.young_entry_bytes)
        if not largest:
            return _FIRST_TOGETHER
        return int(max(1.0, min(float(_MOST_TOGETHER), self._part_bytes(_BATCH_SHARE / 4) / largest)))

    @property
    def batch_is_large(self) -> bool:
        """Whether the batch in hand takes as much as one may, so that it should end here."""
        if not self.states.aggregates.entry_bytes:
            self._sample_changed()  # the first batch of all
        changed_bytes = len(self.states.changed) * self.states.aggregates.entry_bytes
        return changed_bytes + self._loaded_bytes > self._part_bytes(_BATCH_SHARE)

    @property
    def too_much_unsaved(self) -> bool:
        """Whether what the store has not taken in yet takes as much as it may."""
        aggregates, answers = self.states.aggregates, self.known.answers
        pinned_bytes = len(self._pinned) * aggregates.entry_bytes
        return aggregates.unsaved_bytes + answers.unsaved_bytes - pinned_bytes > self._part_bytes(_UNSAVED_SHARE)

    @property
    def is_full(self) -> bool:
        """Whether nothing more may come into memory: it takes all of its share, and no store takes anything in."""
        return self.health.is_aside and self._memory_bytes() > max(
            float(_LEAST_BYTES), self._share_bytes() * _ALL_SHARE
        )

    def shrink(self) -> None:
        """Drops what was not used lately and exceeds the budget; without a store, the ids that the window allows.

        To be called between batches alone: a batch may come back to what it began with.
        """
        if self._store is None:
            self.known.forget_in_memory()
            return
        share_bytes = self._share_bytes()
        aggregates, answers = self.states.aggregates, self.known.answers
        if aggregates.young_bytes + answers.young_bytes > share_bytes * _YOUNG_SHARE:
            (aggregates if aggregates.young_bytes > answers.young_bytes else answers).turn()
        while self._memory_bytes() > share_bytes * _ALL_SHARE:
            if aggregates.old_bytes + answers.old_bytes > 0:
                (aggregates if aggregates.old_bytes > answers.old_bytes else answers).drop_old()
            elif aggregates.young_bytes + answers.young_bytes > 0:
                (aggregates if aggregates.young_bytes > answers.young_bytes else answers).turn()
            else:
                return  # all of it is unsaved

    def _memory_bytes(self) -> float:
        return self.states.aggregates.all_bytes + self.known.answers.all_bytes

    # --- keeping the store in step -------------------------------------------------------------------------------

    @property
    def unsaved(self) -> int:
        """How many answers and aggregates the store has not taken in yet."""
        return max(self.known.answers.unsaved, len(self.states.aggregates.unsaved) - len(self._pinned))

    def checkpoint_due(self, now_seconds: float, *, idle: bool) -> bool:
        """Whether the store should take in what is unsaved; `now_seconds` is a monotonic clock's."""
        if (self._store is None and self._open is None) or not self.unsaved:
            self._saved_at = now_seconds
            return False
        if not self.health.may_try:
            return False
        waited = now_seconds - self._saved_at
        return (
            self.unsaved >= CHECKPOINT_COMMANDS
            or waited >= (IDLE_CHECKPOINT_SECONDS if idle else CHECKPOINT_SECONDS)
            or self.too_much_unsaved
        )

    def checkpoint(self, now_seconds: float) -> None:
        """Brings the store to what memory holds, then drops from memory what was not used lately and exceeds the budget.

        To be called between batches alone: what is in memory then is committed.
        """
        self._saved_at = now_seconds
        self.save()

    def save(self) -> None:
        """A checkpoint that does not put off the next one. Nothing happens while the store is set aside."""
        if not self.health.may_try:
            return
        aggregates, answers = self.states.aggregates, self.known.answers
        pinned, self._pinned = self._pinned, {}
        self.position.newest_ms = self.known.newest_ms
        position = self.position.copy()
        self._written_bytes = 0
        try:
            store = self._writable_store()
            if store is None:
                return
            store.write(
                position,
                self._snapshots(position),
                answers.unsaved_items(),
                forget_before_ms=self.known.forget_before_ms,
            )
        except StateStoreFailed as error:
            # What it did not take in stays unsaved; what it holds can still be read.
            self._pinned = pinned
            self.health.failed(str(error))
            self.shrink()
            return
        self.health.worked()
        answers.saved()
        for aggregate_id in self._pinned:
            del aggregates.unsaved[aggregate_id]
        states = len(aggregates.unsaved)
        aggregates.saved(self._sizes.estimate_bytes(self._written_bytes, states) + states * _CURRENT_BYTES)
        aggregates.unsaved.update(self._pinned)
        self.shrink()

    def _writable_store(self) -> StateStore | None:
        """The store; None where there is to be none. Raises `StateStoreFailed` where there is no room yet."""
        if self._store is None:
            if self._open is None:
                return None
            self._store, self._open = self._open(), None
        elif self.health.is_aside:
            self._store.reopen()
        return self._store

    def _snapshots(self, position: StorePosition) -> Iterator[tuple[str, int, int, bytes]]:
        """The snapshots of what is unsaved, one by one; at their end `position.missing` is how many there are none of."""
        codec = self._codec
        if codec is not None:
            for number, (id_, current) in enumerate(self.states.aggregates.unsaved.items()):
                try:
                    snapshot = codec.encode(current.state)
                except EncodeError as error:
                    # It stays in memory; and since the store is then no whole, it is not used by the next owner.
                    self._pinned[id_] = current
                    name = self._definition.name
                    told = _log.bind(aggregate=name, aggregate_id=id_, reason=str(error))
                    told.info("state_not_storable", about="state_not_storable")
                    continue
                if number % _SAMPLE_ONE_IN == 0:
                    self._sizes.note(size_bytes(current.state), len(snapshot))
                self._written_bytes += len(snapshot)
                yield id_, current.version, current.offset, snapshot
        position.missing = len(self.states.stopped) + len(self._pinned)
