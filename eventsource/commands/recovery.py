"""Bringing a partition's memory to what the log holds: the state store's contents, then everything behind its position."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from eventsource.clock import Clock
from eventsource.commands.memory import PartitionMemory
from eventsource.commands.replaying import PartitionReplay
from eventsource.commands.state_folder import StateFolder
from eventsource.commands.state_store import StateStore
from eventsource.errors import BrokerUnavailable, HeaderError, OffsetLost, StateStoreFailed
from eventsource.log.admin import TopicAndPartition
from eventsource.log.header_reading import read_event_headers, read_outcome_headers
from eventsource.log.reader import LogReader
from eventsource.log.record import Record
from eventsource.schemas import StateCodec

_log = structlog.get_logger("eventsource.owner")

_READ_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class StorePlace:
    """How a partition's state store is opened, and what writes its snapshots."""

    claim: Callable[[], StateFolder]
    open: Callable[[StateFolder], StateStore]
    codec: StateCodec[Any]


@dataclass(frozen=True, slots=True)
class Bounds:
    """First offsets and READ_UNCOMMITTED ends of a partition's topics, asked for after the fence."""

    firsts: Mapping[TopicAndPartition, int]
    ends: Mapping[TopicAndPartition, int]


class PartitionRecovery:
    """Belongs to the owner's thread. What was replayed once is not read again."""

    def __init__(
        self,
        memory: PartitionMemory,
        make_replay: Callable[[], PartitionReplay],
        events: TopicAndPartition,
        outcomes: TopicAndPartition,
        *,
        store: StorePlace | None,
        patience_seconds: float,
        clock: Clock,
        stopped: Callable[[], bool],
        checkpointed: Callable[[], None],
    ) -> None:
        self._memory = memory
        self._make_replay = make_replay
        self.replay = make_replay()
        self._events, self._outcomes = events, outcomes
        self._place = store
        self._folder: StateFolder | None = None
        self._patience_seconds = patience_seconds
        self._clock = clock
        self._stopped = stopped
        self._checkpointed = checkpointed
        self._unchecked = False
        self._failed = False
        self._began = False
        self._without = False

    def open_store(self) -> None:
        """Attaches the state store, once. Where none can be opened, the partition goes on without, and tries again later."""
        place = self._place
        if self._failed:
            self.replay = self._make_replay()
            self._began = self._unchecked = False
            self._failed = False
            try:
                self._memory.forget_all()
            except StateStoreFailed as error:
                self._release()
                if place is not None:
                    self._memory.go_on_without(error, place.codec, self._open_empty)
                    self._without = True
        if place is not None and self._folder is None and not self._without:
            try:
                self._memory.attach(self._opened(place), place.codec)
                self._unchecked = True
            except StateStoreFailed as error:
                self._memory.go_on_without(error, place.codec, self._open_empty)
                self._without = True

    def _opened(self, place: StorePlace) -> StateStore:
        folder = place.claim()
        try:
            store = place.open(folder)
        except BaseException:
            folder.release()
            raise
        self._folder = folder
        return store

    def _open_empty(self) -> StateStore:
        """The store once there is room for it. Whatever it holds is of before: memory has everything."""
        assert self._place is not None
        store = self._opened(self._place)
        try:
            store.reset()
        except StateStoreFailed:
            self._release()
            raise
        self._without = False
        return store

    def _release(self) -> None:
        self._memory.close()
        if self._folder is not None:
            self._folder.release()
            self._folder = None

    def store_failed(self) -> None:
        """Everything is read from the log next time, into a new store."""
        self._failed = True

    def close(self, *, keep: bool) -> None:
        """Closes the store; with `keep`, it takes in what is committed before."""
        if self._folder is None:
            return
        try:
            if keep and not self._failed and self.replay.between_commands:
                self._memory.checkpoint(self._clock.monotonic())
                self._checkpointed()
        except StateStoreFailed as error:
            _log.warning("state_store_not_closed", reason=str(error))
        finally:
            self._release()

    def read(self, reader: LogReader, bounds: Bounds) -> bool:
        """Reads events, then outcomes, up to their ends. False: the partition was given up meanwhile.

        Raises `OffsetLost` where records were deleted that the aggregates are made of, `BrokerUnavailable`, `StateStoreFailed`,
        and what `PartitionReplay` raises.
        """
        self._check_firsts(bounds)
        try:
            self._check_store(reader, bounds)
        except _GivenUp:
            return False
        self._began = True
        position = self._memory.position
        # Events before outcomes: an outcome's answer points at the event that the aggregate had reached.
        done = self._read_to(reader, self._events, position.events, bounds, self.replay.take_events)
        if done:
            self._memory.position.events = max(self._memory.position.events, bounds.ends[self._events])
            self.replay.finish()
            done = self._read_to(reader, self._outcomes, position.outcomes, bounds, self.replay.take_outcomes)
        if done:
            self._memory.position.outcomes = max(self._memory.position.outcomes, bounds.ends[self._outcomes])
        return done

    def _check_firsts(self, bounds: Bounds) -> None:
        position = self._memory.position
        for where, replayed in ((self._events, position.events), (self._outcomes, position.outcomes)):
            # A store may hold what those records made; but whoever deletes history is to be told at the first chance.
            if bounds.firsts[where] > (max(replayed, 0) if self._began else 0):
                raise OffsetLost(
                    f"{where[0]}[{where[1]}] begins at offset {bounds.firsts[where]}: records were deleted that the aggregates are made "
                    "of; restore the topic, and see that its retention is unlimited"
                )

    def _check_store(self, reader: LogReader, bounds: Bounds) -> None:
        """Throws the store away unless the log still holds the records that it was made from last."""
        if not self._unchecked:
            return
        position = self._memory.position
        checks: list[tuple[TopicAndPartition, tuple[int, str], int, Callable[[Record], str | None]]] = [
            (self._events, position.newest_event, position.events, _event_id),
            (self._outcomes, position.newest_outcome, position.outcomes, _outcome_id),
        ]
        for where, (offset, wanted), next_offset, read_id in checks:
            found = self._id_at(reader, where, offset, bounds, read_id) if offset >= 0 else wanted
            if next_offset > bounds.ends[where] or found != wanted:
                _log.warning(
                    "state_store_discarded",
                    topic=where[0],
                    partition=where[1],
                    reason=f"the log is another, or was cut: at offset {offset} stands {found!r}, not {wanted!r}, and it ends at "
                    f"{bounds.ends[where]}",
                )
                self._memory.forget_all()
                break
        self._unchecked = False

    def _id_at(
        self,
        reader: LogReader,
        where: TopicAndPartition,
        offset: int,
        bounds: Bounds,
        read_id: Callable[[Record], str | None],
    ) -> str | None:
        if not bounds.firsts[where] <= offset < bounds.ends[where]:
            return None
        reader.assign({where: offset})
        began = self._clock.monotonic()
        while reader.position(*where) < bounds.ends[where]:
            for record in reader.read(1, _READ_SECONDS):
                return read_id(record) if record.offset == offset else None
            if self._stopped():
                raise _GivenUp
            if self._clock.monotonic() - began > self._patience_seconds:
                raise BrokerUnavailable(
                    f"{where[0]}[{where[1]}]@{offset} could not be read in {self._patience_seconds:g} s: check that the broker is well"
                )
        return None

    def _read_to(
        self,
        reader: LogReader,
        where: TopicAndPartition,
        replayed: int,
        bounds: Bounds,
        take: Callable[[Sequence[Record]], None],
    ) -> bool:
        start, end = max(replayed, bounds.firsts[where]), bounds.ends[where]
        if start >= end:
            return True
        reader.assign({where: start})
        monotonic = self._clock.monotonic
        for records in reader.read_to(
            {where: end}, patience_seconds=self._patience_seconds, monotonic=monotonic, stopped=self._stopped
        ):
            take(records)
            self._save(monotonic())
        return not self._stopped()

    def _save(self, now: float) -> None:
        if self.replay.between_commands and self._memory.checkpoint_due(now, idle=False):
            self._memory.checkpoint(now)
            self._checkpointed()


class _GivenUp(Exception):
    """The partition was given up while its store was checked."""


def _event_id(record: Record) -> str | None:
    try:
        return read_event_headers(record.headers).ce_id
    except HeaderError:
        return None


def _outcome_id(record: Record) -> str | None:
    try:
        return read_outcome_headers(record.headers).command_id
    except HeaderError:
        return None
