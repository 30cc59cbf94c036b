"""The owner of one partition: takes it over, handles its commands, and gives it back. One thread, one consumer, two producers.

The order of a take-over is what makes it safe: fence both transactional ids, then the stable committed offset, then the
READ_UNCOMMITTED ends of events and outcomes, then replay up to those, and only then handle. (Asked before the fence, an end
can still move; asked for committed records only, it stops below a transaction that its dead owner left open.)
"""

from __future__ import annotations

import threading
from typing import Final

import structlog

from eventsource.commands.batch_handling import BatchHandling
from eventsource.commands.handled import Handled
from eventsource.commands.handling import CommandHandling
from eventsource.commands.hang_watch import HangWatch
from eventsource.commands.owner_parts import OwnerParts
from eventsource.commands.owner_state import OwnerState, check_transition
from eventsource.commands.recovery import Bounds, PartitionRecovery, StorePlace
from eventsource.commands.replaying import PartitionReplay
from eventsource.commands.state_folder import StateFolder, state_dir_of
from eventsource.commands.state_store import StateStore, StoreIdentity
from eventsource.commands.turns import Turn
from eventsource.domain.fingerprint import evolve_fingerprint
from eventsource.errors import (
    Fenced,
    ProducersReplaced,
    RecordRefused,
    Retriable,
    StateStoreFailed,
    TopicMismatch,
    TransactionAborted,
)
from eventsource.log.admin import TopicAndPartition
from eventsource.log.client_config import foreign_config
from eventsource.log.committed import committed_offsets
from eventsource.log.reader import LogReader
from eventsource.log.record import Record
from eventsource.log.steps import Step
from eventsource.log.transactions import PartitionWriter, is_checked_metadata
from eventsource.telemetry import OwnerMetrics

_log = structlog.get_logger("eventsource.owner")

_READ_SECONDS: Final = 0.1
_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 5.0
_HOT_COMMANDS: Final = 200
_HOT_SHARE: Final = 0.5
_HOT_AGAIN_SECONDS: Final = 60.0


class PartitionOwner:
    """Owns one partition of an aggregate, in a thread of its own, from `start` until `stop` or a failure."""

    def __init__(self, parts: OwnerParts, partition: int) -> None:
        self.partition = partition
        self.state = OwnerState.ASSIGNED
        self.failure: BaseException | None = None
        self._parts = parts
        self._name = parts.aggregate.__definition__.name
        names = parts.names
        self._commands: TopicAndPartition = (names.commands(self._name), partition)
        self._events: TopicAndPartition = (names.events(self._name), partition)
        self._outcomes: TopicAndPartition = (names.outcomes(self._name), partition)
        self._group = names.owners(self._name)
        self._transactional_ids = [names.transactional_id(self._name, partition, turn) for turn in (0, 1)]
        self._handling = CommandHandling(
            parts.app,
            parts.aggregate,
            partition,
            names=names,
            commands_topic_id=parts.topic_ids[self._commands[0]],
            codecs=parts.codecs,
            window_ms=parts.window_ms,
            max_event_bytes=parts.settings.worker.max_event_bytes,
            budget=parts.budget,
            clock=parts.clock,
        )
        self._hangs = HangWatch(self._handling, self._name, parts.clock)
        self._batches = BatchHandling(self._handling, Turn(parts.turns), parts.clock.monotonic)
        self._memory = self._handling.memory
        self._metrics = OwnerMetrics(self._name, partition)
        self._stop = threading.Event()
        self._lost = threading.Event()
        kafka = parts.settings.kafka
        self._recovery = PartitionRecovery(
            self._memory,
            self._new_replay,
            self._events,
            self._outcomes,
            store=self._store_place(),
            patience_seconds=kafka.request_timeout_seconds + kafka.transaction_timeout_seconds,
            clock=parts.clock,
            stopped=self._stop.is_set,
            checkpointed=lambda: self._step(Step.CHECKPOINTED),
        )
        self._told_hot_at = float("-inf")
        self._unhandled: list[Record] = []
        self._batch_limit = parts.settings.worker.batch_size
        self._commits = 0
        self._thread = threading.Thread(target=self._run, name=f"owner {self._name}[{partition}]", daemon=True)
        self._log = _log.bind(aggregate=self._name, partition=partition)

    def start(self) -> None:
        """Begins to take the partition over, in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Asks the owner to end with the transaction that it is in, and that with the command at hand."""
        self._stop.set()
        self._handling.interrupt()

    def lose(self) -> None:
        """Tells the owner that the partition is others' already: it ends, and commits nothing more."""
        self._lost.set()
        self.stop()

    def look(self) -> None:
        """To be called a few times a second: notices a command that hangs, and ends a batch of slow ones."""
        self._hangs.look()
        self._batches.look()

    @property
    def hangs_seconds(self) -> float:
        """How long the command at hand has been there."""
        return self._hangs.seconds

    def join(self, timeout_seconds: float) -> bool:
        """Waits for the thread to end; False if it did not in time."""
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _new_replay(self) -> PartitionReplay:
        parts = self._parts
        topic_id = parts.topic_ids[self._commands[0]]
        return PartitionReplay(
            parts.aggregate,
            self.partition,
            self._memory,
            parts.codecs,
            topic_id,
            self._metrics.replayed,
            partitions=parts.app.partitions_of(parts.aggregate),
        )

    def _store_place(self) -> StorePlace | None:
        parts, names, name = self._parts, self._parts.names, self._name
        codec = parts.codecs.state
        if codec is None:
            return None
        identity = StoreIdentity(
            aggregate=name,
            partition=self.partition,
            commands_topic_id=parts.topic_ids[names.commands(name)].hex(),
            events_topic_id=parts.topic_ids[names.events(name)].hex(),
            outcomes_topic_id=parts.topic_ids[names.outcomes(name)].hex(),
            code=evolve_fingerprint(parts.aggregate).hex(),
            window_ms=parts.window_ms,
        )
        state_dir = state_dir_of(parts.settings.worker)
        return StorePlace(
            claim=lambda: StateFolder.claim(state_dir, names.prefix, name, self.partition),
            open=lambda folder: StateStore.open(folder.path, identity),
            codec=codec,
        )

    # --- the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._parts.budget.enter()
        try:
            config = foreign_config(self._parts.settings.kafka.client_config())
            with LogReader(config, ends_of=self._parts.admin.end_offsets) as reader:
                self._own_until_stopped(reader)
            self._to(OwnerState.LOST if self._lost.is_set() else OwnerState.REVOKING)
            self._recovery.close(keep=True)
            self._to(OwnerState.CLOSED)
        except BaseException as error:  # noqa: BLE001 - kept for the worker, which raises it in its own thread
            # The runner says what becomes of it.
            self._log.debug("owner_failed", error=str(error), kind=type(error).__name__)
            self._recovery.close(keep=False)
            self.failure = error
            self.state = OwnerState.FAILED
        finally:
            self._parts.budget.leave()

    def _own_until_stopped(self, reader: LogReader) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while self._wait_until_member():
            commits = self._commits
            try:
                self._own(reader)
            except Retriable as error:
                self._handling.rollback()
                if isinstance(error, StateStoreFailed):
                    self._recovery.store_failed()
                self._metrics.returned(error)
                self._to(OwnerState.RETURNING)
                self._log_return(error)
                if self._commits > commits:
                    pause = _FIRST_PAUSE_SECONDS
                self._stop.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _log_return(self, error: Retriable) -> None:
        # Another worker has the partition, or the producers are replaced as a precaution: both belong to ordinary work.
        log = self._log.info if isinstance(error, Fenced | ProducersReplaced) else self._log.warning
        about = "disk" if isinstance(error, StateStoreFailed) else "kafka"
        log("owner_returns_to_committed_state", reason=str(error), about=about)

    def _wait_until_member(self) -> bool:
        """Whether to go on. Only a member whom the group gives the partition may shut others out by fencing it."""
        membership = self._parts.membership
        while not self._stop.is_set():
            owned = membership.owned()
            if (
                self._commands in owned.partitions
                and is_checked_metadata(owned.metadata)
                and membership.has_assignment()
            ):
                return True
            self._stop.wait(_READ_SECONDS)
        return False

    def _check_partition(self) -> None:
        count = self._parts.app.partitions_of(self._parts.aggregate)
        if self.partition >= count:
            raise TopicMismatch(
                f"{self._commands[0]} was given a partition {self.partition}, and had {count} when the app was made: aggregates stay in "
                "those they had, so nobody may write here; begin in another namespace, and copy into it what is to be kept"
            )

    def _own(self, reader: LogReader) -> None:
        self._step(Step.ASSIGNED)
        self._check_partition()
        self._to(OwnerState.FENCING)
        self._handling.register_schemas()
        kafka = self._parts.settings.kafka
        writer = PartitionWriter(
            kafka.client_config(),
            self._transactional_ids,
            transaction_timeout_seconds=kafka.transaction_timeout_seconds,
            monotonic=self._parts.clock.monotonic,
            on_step=self._step,
        )
        try:
            with self._parts.take_overs.under_way():
                start = self._take_over(writer)
            if start is not None:
                reader.assign({self._commands: start})
                self._unhandled = []
                self._to(OwnerState.HANDLING)
                while not self._stop.is_set():
                    self._handle_batch(reader, writer)
        finally:
            writer.close()

    def _to(self, state: OwnerState) -> None:
        self.state = check_transition(self.state, state)

    def _step(self, step: Step) -> None:
        self._parts.on_step(step, self.partition)

    # --- taking over ---------------------------------------------------------------------------------------------

    def _take_over(self, writer: PartitionWriter) -> int | None:
        """The offset of the first command to handle, or None when the partition was given up meanwhile."""
        began = self._parts.clock.monotonic()
        writer.fence()
        self._metrics.fenced()
        self._step(Step.FENCED)
        if self._stop.is_set():
            return None
        self._to(OwnerState.LOCATING)
        self._recovery.open_store()
        admin = self._parts.admin
        kafka = self._parts.settings.kafka
        committed = committed_offsets(
            kafka.client_config(), self._group, [self._commands], timeout_seconds=kafka.request_timeout_seconds
        )[self._commands]
        ends = admin.end_offsets([self._events, self._outcomes])
        writer.expect(ends)
        # After the ends: what stands below them was caused by commands below this one.
        self._recovery.replay.plausibility.commands_end = admin.end_offsets([self._commands])[self._commands]
        firsts = admin.first_offsets([self._events, self._outcomes, self._commands])
        parts = self._parts
        parts.identities.check(admin.topic_ids(parts.topic_ids))  # an empty topic would pass every check of offsets
        self._step(Step.LOCATED)
        self._to(OwnerState.REPLAYING)
        # Owners alone write events and outcomes, so these are fetched in large pieces.
        with LogReader(kafka.client_config()) as history:
            if not self._recovery.read(history, Bounds(firsts, ends)):
                return None
        self._step(Step.REPLAYED)
        replay = self._recovery.replay
        replay.check_committed(committed, admin.end_offsets([self._commands])[self._commands])
        seconds = self._parts.clock.monotonic() - began
        self._metrics.taken_over(seconds)
        self._parts.take_overs.note(self._name, self.partition, replay.events, seconds)
        self._log.debug(
            "partition_taken_over",
            events=replay.events,
            aggregates=len(self._handling.states),
            seconds=round(seconds, 3),
        )
        return firsts[self._commands] if committed is None else committed

    # --- handling ------------------------------------------------------------------------------------------------

    def _handle_batch(self, reader: LogReader, writer: PartitionWriter) -> None:
        # Captured before the batch is read: fetched after the partition was lost, a broker would accept it.
        owned = self._parts.membership.owned()
        if self._commands not in owned.partitions or owned.metadata is None:
            self._stop.wait(_READ_SECONDS)
            return
        if self._memory.is_full:  # what the disk cannot take in must not take more memory: the commands wait in the log
            self._memory.checkpoint(self._parts.clock.monotonic())
            if self._memory.is_full:
                self._stop.wait(_READ_SECONDS)
                return
        batch = self._unhandled or reader.read(self._batch_limit, _READ_SECONDS)
        self._unhandled = []
        doubt = writer.suspect()
        if doubt is not None:
            self._metrics.renewed()
            raise ProducersReplaced(f"the producers are replaced before they are used again: {doubt}")
        if batch:
            self._step(Step.READ)
            self._transact(batch, writer, owned.metadata)
        now = self._parts.clock.monotonic()
        if self._memory.checkpoint_due(now, idle=not batch):
            self._memory.checkpoint(now)
            self._metrics.checkpointed(self._parts.clock.monotonic() - now)
            self._step(Step.CHECKPOINTED)

    def _transact(self, batch: list[Record], writer: PartitionWriter, metadata: bytes | None) -> None:
        # Of a command alone, it must be told apart whether a broker refuses what it leads to: that is not tried for ever.
        transaction = writer.begin(metadata, all_reported=len(batch) == 1)
        handled = Handled()
        try:
            self._unhandled = self._batches.handle(batch, transaction, handled)
            handled_at = self._parts.clock.monotonic()
            self._check_kept()
            offsets = transaction.commit((self._commands, handled.next_offset))
        except TransactionAborted as error:
            # A batch that fails as a whole may fail because of one command: the next try is half as large.
            self._batch_limit = max(1, len(batch) // 2)
            if isinstance(error, RecordRefused) and len(batch) == 1:
                self._handling.refuse(batch[0].offset, str(error))
            raise
        except Exception as error:
            transaction.abort(error)  # does nothing where the transaction is over already
            raise
        hottest = self._handling.states.hottest()
        self._handling.commit(handled, offsets)
        self._commits += 1
        commands = len(batch) - len(self._unhandled)
        committing_seconds = self._parts.clock.monotonic() - handled_at
        self._metrics.committed(
            handled.outcomes(commands), commands, hottest[1], self._batches.seconds, committing_seconds
        )
        self._metrics.looked_up(*self._memory.take_lookups())
        self._note_hot(hottest, commands)
        self._step(Step.APPLIED)
        self._batch_limit = min(self._parts.settings.worker.batch_size, self._batch_limit * 2)
        self._parts.replies.send(self._handling.replies(handled))
        self._step(Step.REPLIED)

    def _check_kept(self) -> None:
        if self._lost.is_set():
            raise Fenced("the group gave the partition to another worker: what was handled here is handled there")

    def _note_hot(self, hottest: tuple[str, int], commands: int) -> None:
        """Names an aggregate that takes most of a large batch: its commands wait for each other, whatever is added elsewhere."""
        aggregate_id, count = hottest
        now = self._parts.clock.monotonic()
        if count >= _HOT_COMMANDS and count > _HOT_SHARE * commands and now - self._told_hot_at > _HOT_AGAIN_SECONDS:
            self._told_hot_at = now
            self._log.info("hot_aggregate", aggregate_id=aggregate_id, commands=count, of=commands)
