"""The one writer of a partition: two transactional producers in turn, fenced by the partition's own ids.

Two, because back-to-back transactions of one producer wait for the broker to finish the one before (100 ms at librdkafka's
default, still 8 ms at `retry.backoff.ms=1`; 2.4 ms in turn). The second begins only after the first one's commit returned
OK: overlapping them lost a command, since the later one could commit and the earlier abort.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from eventsource.errors import Fenced, LogError, RecordRefused, TransactionAborted
from eventsource.log.admin import FORBIDDEN, TopicAndPartition, translate
from eventsource.log.client_config import producer_config
from eventsource.log.record import Outgoing
from eventsource.log.steps import Step
from eventsource.log.suspicion import STATISTICS_INTERVAL_MS, Suspicion

_log = structlog.get_logger("eventsource.transactions")

_FENCED: Final = frozenset(
    {
        KafkaError._FENCED,
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.INVALID_PRODUCER_ID_MAPPING,
        KafkaError.TRANSACTION_COORDINATOR_FENCED,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError.FENCED_MEMBER_EPOCH,
    }
)
_TOO_LARGE: Final = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})
_METADATA_MAGIC: Final = b"CGMDv2:"
# librdkafka: any time-out but "none" at commit and abort risks that client and coordinator disagree about the transaction.
_UNLIMITED: Final = -1.0


def is_checked_metadata(metadata: bytes | None) -> bool:
    """Whether a broker checks this group metadata.

    It lets offsets pass unchecked that name no member or no generation (`ClassicGroup.validateOffsetCommit`), so such
    metadata is no fence. The form is librdkafka's: `CGMDv2:`, generation (int32 little-endian), group id, member id, each
    ended by a zero byte.
    """
    if metadata is None or not metadata.startswith(_METADATA_MAGIC):
        return False
    rest = metadata[len(_METADATA_MAGIC) :]
    generation = int.from_bytes(rest[:4], "little", signed=True)
    _group, _, after_group = rest[4:].partition(b"\0")
    member, _, _ = after_group.partition(b"\0")
    return generation >= 0 and bool(member)


def check_group_metadata(metadata: bytes | None) -> bytes:
    """The metadata, if a broker checks it. Raises `Fenced` otherwise."""
    if metadata is None or not is_checked_metadata(metadata):
        raise Fenced(
            "this worker is not a member of its group just now, so nothing is written: it goes on when it has rejoined"
        )
    return metadata


class PartitionWriter:
    """Writes transactions to the log on behalf of one partition. Belongs to one thread.

    `fence` must have returned before `commit`. After any error from `commit` the writer is spent: `close` it and make another.
    """

    def __init__(
        self,
        client_config: Mapping[str, Any],
        transactional_ids: Sequence[str],
        *,
        transaction_timeout_seconds: float = 10.0,
        monotonic: Callable[[], float] = time.monotonic,
        on_step: Callable[[Step], None] = lambda _step: None,
    ) -> None:
        self._bootstrap = str(client_config.get("bootstrap.servers", ""))
        self._monotonic = monotonic
        self._step = on_step
        self._timeout = transaction_timeout_seconds
        self._suspicions = [Suspicion() for _ in transactional_ids]
        timeout_ms = int(transaction_timeout_seconds * 1_000)
        self._producers = [
            Producer(
                {
                    # The broker answers CONCURRENT_TRANSACTIONS while it finishes the transaction before.
                    "retry.backoff.ms": 1,
                    **producer_config(client_config),
                    "transactional.id": transactional_id,
                    "transaction.timeout.ms": timeout_ms,
                    # A record must have failed before its transaction does, or the broker aborts what we still send.
                    "message.timeout.ms": timeout_ms * 4 // 5,
                    "statistics.interval.ms": STATISTICS_INTERVAL_MS,
                    "stats_cb": suspicion.statistics,
                    "log_level": 5,
                },
                logger=suspicion.logger,
            )
            for transactional_id, suspicion in zip(transactional_ids, self._suspicions, strict=True)
        ]
        self._turn = 0

    def fence(self) -> None:
        """Ends whatever an earlier owner left open under both ids, and shuts it out. Raises `LogError`s; retriable by type."""
        for producer in self._producers:
            try:
                producer.init_transactions(self._timeout)
            except KafkaException as error:
                raise self._translate(error.args[0], "taking over a partition's transactional id") from error

    def suspect(self) -> str | None:
        """Why this writer must be replaced before its next transaction, or None. To be asked before every `commit`."""
        for producer, suspicion in zip(self._producers, self._suspicions, strict=True):
            producer.poll(0)  # serves statistics and log lines that came in between
            if suspicion.reason is not None:
                return suspicion.reason
        return None

    def commit(
        self, records: Sequence[Outgoing], offset: tuple[TopicAndPartition, int], group_metadata: bytes | None
    ) -> list[int]:
        """Writes the records and the group's next offset in one transaction. Returns the records' offsets, in order.

        Raises `Fenced` when another owner has the partition, `TransactionAborted` when nothing was written or that is not
        known: in both cases memory must go back to what the log holds.
        """
        metadata = check_group_metadata(group_metadata)
        producer, suspicion = self._producers[self._turn], self._suspicions[self._turn]
        deliveries = _Deliveries(len(records))
        try:
            producer.begin_transaction()
            self._step(Step.BEGUN)
            for index, record in enumerate(records):
                producer.produce(
                    record.topic,
                    record.value,
                    record.key,
                    record.partition,
                    on_delivery=deliveries.listener(index),
                    headers=record.headers,  # type: ignore[arg-type]  # a sequence of pairs is what librdkafka takes
                )
            self._step(Step.PRODUCED)
            left = producer.flush(self._timeout)
            deliveries.check(left)
            self._step(Step.FLUSHED)
            # Last: if a late EndTxn tears the transaction here, the offset stays behind and replay heals; first, events are lost.
            (topic, partition), next_offset = offset
            producer.send_offsets_to_transaction(
                [TopicPartition(topic, partition, next_offset)], metadata, self._timeout
            )
            self._step(Step.OFFSETS_SENT)
            started = self._monotonic()
            producer.commit_transaction(_UNLIMITED)
            suspicion.end_took(self._monotonic() - started)
        except TransactionAborted:
            self._end_aborted(producer)
            raise
        except Exception as error:  # whatever it was (librdkafka's binding raises SystemError on a fenced producer): nothing is committed
            raise self._abort(producer, error) from error
        self._turn = 1 - self._turn
        self._step(Step.COMMITTED)
        return deliveries.offsets

    def close(self) -> None:
        """Drops both producers. What they had open ends when somebody fences their ids, or at the transaction's time-out."""
        for producer in self._producers:
            producer.purge()
        # Dropped, not closed: `Producer.close` would abort through a coordinator that may be the reason for dropping it.
        self._producers.clear()

    def _abort(self, producer: Producer, error: Exception) -> LogError:
        kafka_error = error.args[0] if isinstance(error, KafkaException) else None
        fatal = kafka_error is not None and kafka_error.fatal()
        if not fatal:
            self._end_aborted(producer)
        if kafka_error is not None:
            return self._aborted_by(kafka_error)
        kind = RecordRefused if isinstance(error, BufferError) else TransactionAborted
        return kind(
            f"a record could not be produced ({type(error).__name__}: {error}), so its whole transaction was aborted"
        )

    def _end_aborted(self, producer: Producer) -> None:
        try:
            producer.abort_transaction(_UNLIMITED)
        except (KafkaException, SystemError) as error:
            # The ids are fenced before the next use in any case, which ends the transaction.
            _log.info("abort_failed", error=str(error))

    def _translate(self, error: KafkaError, doing: str) -> LogError:
        if error.code() in _FENCED:
            return Fenced(
                f"{doing}: another worker owns the partition now ({error.name()}); this one stops writing to it"
            )
        return translate(error, doing, self._bootstrap)

    def _aborted_by(self, error: KafkaError) -> LogError:
        translated = self._translate(error, "writing a transaction")
        if isinstance(translated, Fenced) or error.code() in FORBIDDEN:
            return translated
        kind = RecordRefused if error.code() in _TOO_LARGE else TransactionAborted
        return kind(f"{translated}; memory returns to the last committed state")


class _Deliveries:
    """The delivery reports of one transaction's records."""

    def __init__(self, count: int) -> None:
        self.offsets = [-1] * count
        self._error: KafkaError | None = None

    def listener(self, index: int) -> Callable[[KafkaError | None, Message], None]:
        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self._error = self._error or error
            else:
                offset = message.offset()
                self.offsets[index] = -1 if offset is None else offset

        return delivered

    def check(self, left: int) -> None:
        """Raises `TransactionAborted` unless every record was delivered."""
        if self._error is not None:
            kind = RecordRefused if self._error.code() in _TOO_LARGE else TransactionAborted
            raise kind(f"a record was not delivered ({self._error.str()}), so its whole transaction was aborted")
        if left or -1 in self.offsets:
            raise TransactionAborted("not every record was delivered in time, so the whole transaction was aborted")
