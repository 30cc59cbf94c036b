"""Transactions that have been open for too long: whose they are, and what was decided about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from eventsource.doctor.facts import Decision, Hanging
from eventsource.errors import ClusterMismatch, EventSourceError
from eventsource.log.admin import LogAdmin, TopicAndPartition
from eventsource.log.reader import LogReader
from eventsource.log.record import Record
from eventsource.log.transaction_state import (
    OFFSETS_TOPIC,
    TRANSACTION_TOPIC,
    TransactionEntry,
    TransactionStatus,
    coordinator_partition,
    read_entry,
    read_offset_key,
)

_CLOCK_MS: Final = 1_000
_COMPLETE: Final = frozenset({TransactionStatus.COMPLETE_COMMIT, TransactionStatus.COMPLETE_ABORT})


class HangingProbe:
    """Looks up hanging transactions."""

    def __init__(
        self,
        admin: LogAdmin,
        client_config: Mapping[str, Any],
        *,
        coordinator_partitions: int,
        timeout_seconds: float,
    ) -> None:
        self._admin = admin
        self._config = client_config
        self._coordinator_partitions = coordinator_partitions
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
        return judge_entries(where, offset, first.timestamp_ms, age_seconds, entries)

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


def judge_entries(
    where: TopicAndPartition,
    offset: int,
    first_record_ms: int,
    age_seconds: float,
    entries: Iterable[TransactionEntry],
) -> Hanging:
    """Which of these transactions began at that time in that partition, and what became of it. Pure.

    Where several could be meant that were decided differently, nothing is claimed.
    """
    transactions: dict[tuple[str, int], list[TransactionEntry]] = {}
    for entry in entries:
        if entry.started_ms >= 0:
            transactions.setdefault((entry.transactional_id, entry.started_ms), []).append(entry)
    meant = [
        found
        for found in transactions.values()
        if any(where in entry.partitions for entry in found)
        and found[0].started_ms - _CLOCK_MS <= first_record_ms <= _decided_ms(found) + _CLOCK_MS
    ]
    if len(meant) > 1:  # brokers' clocks may differ: without that margin, where it makes a difference
        meant = [found for found in meant if found[0].started_ms <= first_record_ms <= _decided_ms(found)] or meant
    decisions = {_decision(found) for found in meant}
    if len(decisions) != 1:
        reason = "several transactions may be meant" if meant else f"{TRANSACTION_TOPIC} has no entry of that time"
        return Hanging(where, offset, age_seconds, unknown_because=reason)
    last = max(meant, key=lambda found: found[0].started_ms)[0]
    completed = any(entry.status in _COMPLETE for found in meant for entry in found)
    return Hanging(
        where,
        offset,
        age_seconds,
        last.transactional_id,
        last.producer_id,
        last.producer_epoch,
        decisions.pop(),
        completed=completed,
    )


def _decided_ms(entries: Sequence[TransactionEntry]) -> float:
    decided = [entry.updated_ms for entry in entries if entry.status is not TransactionStatus.ONGOING]
    return min(decided) if decided else float("inf")


def _decision(entries: Sequence[TransactionEntry]) -> Decision:
    statuses = {entry.status for entry in entries}
    if statuses & {TransactionStatus.PREPARE_COMMIT, TransactionStatus.COMPLETE_COMMIT}:
        return Decision.COMMIT
    if statuses & {
        TransactionStatus.PREPARE_ABORT,
        TransactionStatus.COMPLETE_ABORT,
        TransactionStatus.PREPARE_EPOCH_FENCE,
    }:
        return Decision.ABORT
    return Decision.NONE
