"""What the owner of a partition knows: aggregates, answers, and up to where in the log that is so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any, Final

import structlog

from eventsource.commands.deduplication import ANSWER_BYTES, Answer, Deduplication
from eventsource.commands.memory_budget import MemoryBudget, size_bytes
from eventsource.commands.request import Request
from eventsource.commands.state_store import StateStore, StorePosition
from eventsource.commands.states import AggregateStates, Current
from eventsource.domain.definition import AggregateDefinition
from eventsource.errors import DecodeError, EncodeError, StateStoreFailed, UnknownFingerprint
from eventsource.schemas import StateCodec

_log = structlog.get_logger("eventsource.state_store")

CHECKPOINT_COMMANDS: Final = 20_000
"""How many commands may be handled before the store takes them in: what a restart reads again, at most, besides those of the
last seconds."""
CHECKPOINT_SECONDS: Final = 5.0
IDLE_CHECKPOINT_SECONDS: Final = 1.0
_CURRENT_BYTES: Final = (
    350  # of an aggregate besides its state: id, version, offset, their place in the map, and the collector's own
)
_RECENT_SHARE: Final = 0.4  # of a share may be recent: the age before may be as large, and what is unsaved comes on top
_SAMPLE_ONE_IN: Final = 64
_FIRST_SAMPLES: Final = 100


class PartitionMemory:
    """States and answers of one partition. With a store, what was not used lately is on disk alone.

    Belongs to one thread. Reading and writing the store raises `StateStoreFailed`.
    """

    def __init__(
        self, definition: AggregateDefinition[Any], window_ms: int | None, budget: MemoryBudget | None = None
    ) -> None:
        self._definition = definition
        self._window_ms = window_ms
        self._budget = budget
        self._store: StateStore | None = None
        self._codec: StateCodec[Any] | None = None
        self._clear()

    def _clear(self) -> None:
        self.states = AggregateStates(self._definition)
        self.known = Deduplication(self._window_ms)
        self.position = StorePosition()
        self._hits = self._misses = 0
        self._absent_aggregates: set[str] = set()
        self._absent_answers: set[str] = set()
        self._state_bytes = 0.0
        self._sampled = 0
        self._pinned: dict[str, Current] = {}
        self._saved_at = 0.0

    def attach(self, store: StateStore, codec: StateCodec[Any]) -> None:
        """Begins anew with what the store holds, and keeps it in step from now on."""
        self._store, self._codec = store, codec
        self._clear()
        if store.position is not None:
            self.position = store.position.copy()
            self.states.aggregates.complete = self.known.answers.complete = False

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
            self.known.answers.add_saved(id_, answer)
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
        except (DecodeError, UnknownFingerprint) as error:
            raise StateStoreFailed(
                f"the stored state of {self._definition.name} {aggregate_id!r} cannot be read ({error}): the store is built "
                "anew from the log"
            ) from error
        self.states.aggregates.add_saved(aggregate_id, Current(state, version, offset))

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
        if self._store is None:
            self.known.forget_in_memory()
        self._end_batch()

    def rollback(self) -> None:
        """Forgets what a batch changed."""
        self.states.rollback()
        self.known.rollback()
        self._end_batch()

    def _end_batch(self) -> None:
        self._absent_aggregates.clear()
        self._absent_answers.clear()

    # --- keeping the store in step -------------------------------------------------------------------------------

    @property
    def unsaved(self) -> int:
        """How many answers and aggregates the store has not taken in yet."""
        return max(len(self.known.answers.unsaved), len(self.states.aggregates.unsaved) - len(self._pinned))

    def checkpoint_due(self, now_seconds: float, *, idle: bool) -> bool:
        """Whether the store should take in what is unsaved; `now_seconds` is a monotonic clock's."""
        if self._store is None or not self.unsaved:
            self._saved_at = now_seconds
            return False
        waited = now_seconds - self._saved_at
        return self.unsaved >= CHECKPOINT_COMMANDS or waited >= (
            IDLE_CHECKPOINT_SECONDS if idle else CHECKPOINT_SECONDS
        )

    def checkpoint(self, now_seconds: float) -> None:
        """Brings the store to what memory holds, then drops from memory what was not used lately and exceeds the budget.

        To be called between batches alone: what is in memory then is committed.
        """
        store = self._store
        if store is None:
            return
        self._saved_at = now_seconds
        aggregates, answers = self.states.aggregates, self.known.answers
        self._pinned = {}
        snapshots = list(self._snapshots())
        position = self.position.copy()
        position.missing = len(self.states.stopped) + len(self._pinned)
        store.write(
            position,
            snapshots,
            answers.unsaved,
            newest_ms=self.known.newest_ms,
            forget_before_ms=self.known.forget_before_ms,
        )
        answers.saved()
        aggregates.saved()
        aggregates.unsaved.update(self._pinned)
        self._shrink()

    def _snapshots(self) -> Iterator[tuple[str, int, int, bytes]]:
        if self._codec is None:
            return
        encode = self._codec.encode
        for number, (id_, current) in enumerate(self.states.aggregates.unsaved.items()):
            if number % _SAMPLE_ONE_IN == 0:
                self._sample(current)
            try:
                yield id_, current.version, current.offset, encode(current.state)
            except EncodeError as error:
                # It stays in memory; and since the store is then no whole, it is not used by the next owner.
                self._pinned[id_] = current
                _log.warning("state_not_storable", aggregate=self._definition.name, aggregate_id=id_, reason=str(error))

    def _sample(self, current: Current) -> None:
        # A running mean that forgets: aggregates may grow.
        self._sampled = min(self._sampled + 1, _FIRST_SAMPLES)
        self._state_bytes += (size_bytes(current.state) - self._state_bytes) / self._sampled

    def _shrink(self) -> None:
        if self._budget is None:
            return
        aggregates, answers = self.states.aggregates, self.known.answers
        state_bytes = aggregates.recent * (self._state_bytes + _CURRENT_BYTES)
        answer_bytes = answers.recent * ANSWER_BYTES
        if state_bytes + answer_bytes > self._budget.share_bytes * _RECENT_SHARE:
            (aggregates if state_bytes > answer_bytes else answers).turn()
