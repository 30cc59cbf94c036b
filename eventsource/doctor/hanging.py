"""Transactions that have been open for too long: whose they are, and what was decided about them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import structlog

from eventsource.doctor.facts import Decision, Hanging
from eventsource.errors import ClusterMismatch, EventSourceError
from eventsource.log.admin import LogAdmin, TopicAndPartition
from eventsource.log.markers import OpenTransaction, open_transactions, takes_plain_text
from eventsource.log.reader import LogReader
from eventsource.log.record import Record
from eventsource.log.topics import TopicState
from eventsource.log.transaction_state import (
    OFFSETS_TOPIC,
    TRANSACTION_TOPIC,
    TransactionEntry,
    TransactionStatus,
    coordinator_partition,
    read_entry,
    read_offset_key,
)

_log = structlog.get_logger("eventsource.doctor")

_CLOCK_MS: Final = 1_000
_COMMIT: Final = frozenset({TransactionStatus.PREPARE_COMMIT, TransactionStatus.COMPLETE_COMMIT})
_ABORT: Final = frozenset(
    {TransactionStatus.PREPARE_ABORT, TransactionStatus.COMPLETE_ABORT, TransactionStatus.PREPARE_EPOCH_FENCE}
)
_COMPLETE: Final = frozenset({TransactionStatus.COMPLETE_COMMIT, TransactionStatus.COMPLETE_ABORT})


class HangingProbe:
    """Looks up hanging transactions."""

    def __init__(
        self,
        admin: LogAdmin,
        client_config: Mapping[str, Any],
        *,
        coordinator_partitions: int,
        one_clock: bool,
        timeout_seconds: float,
    ) -> None:
        self._admin = admin
        self._config = client_config
        self._coordinator_partitions = coordinator_partitions
        self._one_clock = one_clock
        self._timeout_seconds = timeout_seconds

    def look_up(
        self, where: TopicAndPartition, offset: int, writers: Mapping[TopicAndPartition, Sequence[str]], now_ms: int
    ) -> Hanging:
        """What is known about the transaction whose first record stands at this offset. Raises nothing for what cannot be.

        `writers` has the transactional ids that may write there, by the partition of the commands topic that is theirs.
        """
        try:
            first = self._first_record(where, offset)
            if first is None:
                return Hanging(where, offset, unknown_because="its first record cannot be read")
            age_seconds = max(0.0, (now_ms - first.timestamp_ms) / 1_000)
            entries = self._entries(_ids(first, writers), first.timestamp_ms)
        except EventSourceError as error:
            return Hanging(where, offset, unknown_because=str(error))
        return judge_entries(
            where,
            offset,
            first.timestamp_ms,
            age_seconds,
            entries,
            open_there=self._open_there(where, offset),
            one_clock=self._one_clock,
        )

    def _open_there(self, where: TopicAndPartition, offset: int) -> OpenTransaction | None:
        """The transaction as the partition's leader knows it; None where the leader cannot be asked, or knows none there."""
        if not takes_plain_text(self._config):
            return None
        try:
            found = open_transactions(self._admin.leader(where), where)
        except EventSourceError as error:  # the judgement goes without it: it claims less then
            _log.warning("open_transactions_not_known", topic=where[0], partition=where[1], reason=str(error))
            return None
        return next((each for each in found if each.first_offset == offset), None)

    def _first_record(self, where: TopicAndPartition, offset: int) -> Record | None:
        with LogReader(self._config, committed_only=False) as reader:
            reader.assign({where: offset})
            end = self._admin.end_offsets([where])[where]
            for records in reader.read_to({where: end}, patience_seconds=self._timeout_seconds):
                for record in records:
                    return record
        return None

    def _entries(self, transactional_ids: Sequence[str], since_ms: int) -> list[TransactionEntry]:
        if self._coordinator_partitions == 0:
            raise ClusterMismatch(f"{TRANSACTION_TOPIC} is not described: give this principal Describe and Read on it")
        places = {
            (TRANSACTION_TOPIC, coordinator_partition(each, self._coordinator_partitions)) for each in transactional_ids
        }
        # The coordinator writes an entry before the first record, and one for the decision after the last.
        starts = self._admin.offsets_since(places, since_ms - 60_000)
        ends = self._admin.end_offsets(places)
        left = {place: start for place, start in starts.items() if start is not None and start < ends[place]}
        found: list[TransactionEntry] = []
        if left:
            with LogReader(self._config, committed_only=False) as reader:
                reader.assign(left)
                goals = {place: ends[place] for place in left}
                for records in reader.read_to(goals, patience_seconds=self._timeout_seconds):
                    entries = (read_entry(record.key, record.value) for record in records)
                    found += [entry for entry in entries if entry and entry.transactional_id in transactional_ids]
        return found


def _ids(first: Record, writers: Mapping[TopicAndPartition, Sequence[str]]) -> list[str]:
    # The owners of all partitions write to one partition of the offsets topic, and say in the key which theirs is.
    committed = read_offset_key(first.key) if first.topic == OFFSETS_TOPIC else None
    if committed is not None:
        return list(writers.get(committed[1], ()))
    return [each for ids in writers.values() for each in ids]


def has_one_clock(brokers: Collection[int], topics: Iterable[TopicState]) -> bool:
    """Whether all times are of one broker. A broker that is down is not among `brokers`; topics with replicas had room for it."""
    return len(brokers) == 1 and all(state.replicas == 1 for state in topics)


def judge_entries(
    where: TopicAndPartition,
    offset: int,
    first_record_ms: int,
    age_seconds: float,
    entries: Iterable[TransactionEntry],
    *,
    open_there: OpenTransaction | None = None,
    one_clock: bool = False,
) -> Hanging:
    """Which of these transactions began at that time in that partition, and what became of it. Pure.

    A decision is claimed only if all transactions that may be meant have the same: the clocks of the partition's leader and of the
    coordinator differ, except with `one_clock`. Later transactions of the same producer in the partition count as well: the marker
    of each would have ended the open one, so all of them lack theirs, and one marker now ends them all. `open_there` is what the
    leader knows, where it could be asked.
    """
    transactions: dict[tuple[str, int, int], list[TransactionEntry]] = {}
    for entry in entries:
        if entry.started_ms >= 0 and (open_there is None or entry.producer_id == open_there.producer_id):
            key = (entry.transactional_id, entry.producer_id, entry.started_ms)
            transactions.setdefault(key, []).append(entry)
    there = [found for found in transactions.values() if any(where in entry.partitions for entry in found)]
    meant = [found for found in there if _fits(found, first_record_ms, _CLOCK_MS)]
    if one_clock:
        meant = [found for found in meant if _fits(found, first_record_ms, 0)] or meant
    oldest = {found[0].producer_id: _started_ms(found) for found in sorted(meant, key=_started_ms, reverse=True)}
    meant = [found for found in there if _started_ms(found) >= oldest.get(found[0].producer_id, float("inf"))]
    epochs = {entry.producer_epoch for found in meant for entry in found}
    decisions = {_decision(found) for found in meant}
    if not meant:
        reason = f"{TRANSACTION_TOPIC} has no entry of that time"
    elif len(decisions) > 1 or Decision.UNKNOWN in decisions:
        reason = "several transactions may be meant, which were decided differently"
    elif open_there is not None and open_there.producer_epoch not in epochs:
        reason = f"{TRANSACTION_TOPIC} has no entry of that time with the producer's epoch {open_there.producer_epoch}"
    else:
        reason = ""
    last = max(meant, key=_started_ms)[0] if meant else None
    if last is None or len({(found[0].transactional_id, found[0].producer_id) for found in meant}) > 1:
        whose: tuple[str | None, int | None, int | None] = (None, None, None)  # one of two producers
    else:
        epoch = last.producer_epoch if open_there is None else open_there.producer_epoch
        whose = (last.transactional_id, last.producer_id, epoch)
    if reason:
        return Hanging(where, offset, age_seconds, *whose, unknown_because=reason)
    completed = all(any(entry.status in _COMPLETE for entry in found) for found in meant)
    return Hanging(where, offset, age_seconds, *whose, decisions.pop(), completed=completed)


def _fits(entries: Sequence[TransactionEntry], first_record_ms: int, margin_ms: int) -> bool:
    return _started_ms(entries) - margin_ms <= first_record_ms <= _decided_ms(entries) + margin_ms


def _started_ms(entries: Sequence[TransactionEntry]) -> int:
    return entries[0].started_ms


def _decided_ms(entries: Sequence[TransactionEntry]) -> float:
    decided = [entry.updated_ms for entry in entries if entry.status is not TransactionStatus.ONGOING]
    return min(decided) if decided else float("inf")


def _decision(entries: Sequence[TransactionEntry]) -> Decision:
    statuses = {entry.status for entry in entries}
    committed, aborted = statuses & _COMMIT, statuses & _ABORT
    if committed and aborted:  # two that began in one millisecond
        return Decision.UNKNOWN
    return Decision.COMMIT if committed else Decision.ABORT if aborted else Decision.NONE
