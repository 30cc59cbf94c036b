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
from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from eventsource.errors import Fenced, LogError, OffsetLost, RecordRefused, TransactionAborted
from eventsource.log.admin import TopicAndPartition
from eventsource.log.bounded_calls import BoundedCalls, NeverReturned
from eventsource.log.client_config import SOCKET_TIMEOUT_MS, producer_config
from eventsource.log.deliveries import Deliveries
from eventsource.log.kafka_clients import KafkaProducer
from eventsource.log.kafka_errors import FENCED, FORBIDDEN, TOO_LARGE, translate
from eventsource.log.record import Outgoing
from eventsource.log.serving import flush, is_fatal, poll
from eventsource.log.steps import Step
from eventsource.log.suspicion import STATISTICS_INTERVAL_MS, Suspicion

try:
    from eventsource.log.native_producer import produce as produce_unheard
except ImportError:  # it was not compiled, or not for this version of the client

    def produce_unheard(producer: Producer, records: list[Outgoing]) -> None:
        """Queues records, in order; nobody hears of their delivery. Raises as `Producer.produce`."""
        for topic, partition, key, value, headers in records:
            producer.produce(topic, value, key, partition, headers=list(headers))


_log = structlog.get_logger("eventsource.transactions")

# A partition's owner whose static membership was taken over is shut out like any other.
_FENCED: Final = FENCED | {KafkaError.FENCED_INSTANCE_ID}
_DEFAULTS: Final[Mapping[str, Any]] = {
    # The broker answers CONCURRENT_TRANSACTIONS while it finishes the transaction before.
    "retry.backoff.ms": 1,
    # A large transaction travels in large requests; `flush` ignores the linger, so a small one waits for nothing.
    "linger.ms": 5,
    "compression.type": "lz4",
}
_METADATA_MAGIC: Final = b"CGMDv2:"
_COORDINATORS: Final = "__transaction_state"
_METADATA_SECONDS: Final = 2.0
# librdkafka: any time-out but "none" at commit and abort risks that client and coordinator disagree about the transaction.
_UNLIMITED: Final = -1.0
_NEVER_SECONDS: Final = 1.0


class _GivenUp(TransactionAborted):
    """Raised for a transaction that is left to the next fence."""


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


def _check_next_offset(topic: str, partition: int, next_offset: int) -> None:
    # librdkafka would send none, and the commit would pass without the group's fence.
    if next_offset < 0:
        raise LogError(f"{next_offset} is no offset of {topic}[{partition}], so nothing was written: report this")


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
        self.monotonic = monotonic
        self.on_step = on_step
        self.timeout_seconds = transaction_timeout_seconds
        self._suspicions = [Suspicion() for _ in transactional_ids]
        timeout_ms = int(transaction_timeout_seconds * 1_000)
        self._producers = [
            KafkaProducer(
                {
                    **producer_config(
                        # librdkafka refuses a time-out of requests that is longer than that of the transaction.
                        {**_DEFAULTS, "socket.timeout.ms": min(SOCKET_TIMEOUT_MS, timeout_ms), **client_config}
                    ),
                    "transactional.id": transactional_id,
                    "transaction.timeout.ms": timeout_ms,
                    # A record must have failed before its transaction does, or the broker aborts what we still send.
                    "message.timeout.ms": timeout_ms * 4 // 5,
                    "statistics.interval.ms": STATISTICS_INTERVAL_MS,
                    "stats_cb": suspicion.statistics,
                    # A connection that is reset while it waits for one answer is told at level 6, and at no other.
                    "log_level": 6,
                    "log.connection.close": True,
                },
                logger=suspicion.logger,
            )
            for transactional_id, suspicion in zip(transactional_ids, self._suspicions, strict=True)
        ]
        self.calls = BoundedCalls()
        self._turn = 0
        self._ends: dict[str, int] = {}

    def fence(self) -> None:
        """Ends whatever an earlier owner left open under both ids, and shuts it out. Raises `LogError`s; retriable by type."""
        for producer in self._producers:
            _connect(producer)
            try:
                producer.init_transactions(self.timeout_seconds)
            except KafkaException as error:
                raise self._translate(error.args[0], "taking over a partition's transactional id") from error

    def expect(self, ends: Mapping[TopicAndPartition, int]) -> None:
        """Tells where topics end: what is given a lower offset from now on stands in another log, and is not committed."""
        self._ends.update({topic: end for (topic, _), end in ends.items()})

    def check_offset(self, topic: str, offset: int) -> None:
        """Raises `OffsetLost` if a record cannot have been given this offset in the log that is known."""
        if offset < self._ends.get(topic, 0):
            raise OffsetLost(
                f"a record of {topic} was given offset {offset}, and {self._ends[topic]} was due at least: the topic was made anew or "
                "cut, so nothing was committed; restore it before anything is written"
            )

    def suspect(self) -> str | None:
        """Why this writer must be replaced before its next transaction, or None. To be asked before every `commit`."""
        for producer, suspicion in zip(self._producers, self._suspicions, strict=True):
            try:
                poll(producer)  # serves statistics and log lines that came in between
            except KafkaException as error:
                return f"librdkafka gave one up ({error})"
            if suspicion.reason is not None:
                return suspicion.reason
        return None

    def commit(
        self, records: Sequence[Outgoing], offset: tuple[TopicAndPartition, int], group_metadata: bytes | None
    ) -> list[int]:
        """Writes the records and the group's next offset in one transaction. Returns the records' offsets, in order.

        Raises what `begin` and `Transaction` raise.
        """
        transaction = self.begin(group_metadata)
        transaction.produce(records)
        return transaction.commit(offset)

    def begin(self, group_metadata: bytes | None, *, all_reported: bool = False) -> Transaction:
        """Begins a transaction. `group_metadata` must have been captured before its commands were read.

        With `all_reported`, a record that a broker refuses is told of as such, however many there are; else it may show as a
        transaction that was aborted.

        Raises `Fenced` when the metadata is none that a broker checks, or another owner has the partition.
        """
        metadata = check_group_metadata(group_metadata)
        transaction = Transaction(
            self, self._producers[self._turn], self._suspicions[self._turn], metadata, all_reported=all_reported
        )
        self._turn = 1 - self._turn
        return transaction

    def close(self) -> None:
        """Drops both producers. What they had open ends when somebody fences their ids, or at the transaction's time-out."""
        for producer in self._producers:
            producer.purge()
        # Dropped, not closed: `Producer.close` would abort through a coordinator that may be the reason for dropping it.
        self._producers.clear()
        self.calls.close()

    def abort(self, producer: Producer, error: Exception) -> LogError:
        """Ends a producer's transaction after an error, and says what the error means."""
        kafka_error = error.args[0] if isinstance(error, KafkaException) else None
        if not (isinstance(error, KafkaException) and is_fatal(error)):
            self._end_aborted(producer)
        if kafka_error is not None:
            return self._aborted_by(kafka_error)
        if isinstance(error, LogError):
            return error
        kind = RecordRefused if isinstance(error, BufferError) else TransactionAborted
        return kind(
            f"a record could not be produced ({type(error).__name__}: {error}), so its whole transaction was aborted"
        )

    def _end_aborted(self, producer: Producer) -> None:
        try:
            producer.abort_transaction(_UNLIMITED)
        except (KafkaException, SystemError) as error:
            # The ids are fenced before the next use in any case, which ends the transaction.
            _log.info("abort_failed", error=str(error), about="kafka")

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
        kind = RecordRefused if error.code() in TOO_LARGE else TransactionAborted
        return kind(f"{translated}; memory returns to the last committed state")


def _connect(producer: Producer) -> None:
    # librdkafka looks for the coordinator at once and, where no connection is up or its broker not known by then, again only
    # after 500 ms: half of all take-overs would wait for that, once or twice. The first answer makes the brokers known, the
    # second comes when they are.
    try:
        for _ in range(2):
            producer.list_topics(_COORDINATORS, timeout=_METADATA_SECONDS)
    except KafkaException as error:
        _log.info(
            "metadata_missing", topic=_COORDINATORS, error=error.args[0].name(), about="kafka"
        )  # what follows has its own time-out


class Transaction:
    """One transaction of a `PartitionWriter`: `produce` as often as wanted, then `commit`; or `abort`.

    Each of them raises `Fenced` when another owner has the partition, `TransactionAborted` when nothing was written or that is
    not known: memory must go back to what the log holds. After an error the transaction is over.
    """

    def __init__(
        self,
        writer: PartitionWriter,
        producer: Producer,
        suspicion: Suspicion,
        metadata: bytes,
        *,
        all_reported: bool = False,
    ) -> None:
        self._all_reported = all_reported
        self._writer = writer
        self._producer = producer
        self._suspicion = suspicion
        self._metadata = metadata
        self._topics: list[str] = []
        self._deliveries: dict[str, Deliveries] = {}
        self._held: dict[str, Outgoing] = {}
        self._over = False
        try:
            producer.begin_transaction()
        except Exception as error:
            raise self._abort(error) from error
        writer.on_step(Step.BEGUN)

    def produce(self, records: Sequence[Outgoing]) -> None:
        """Hands records to the producer, which begins to send them."""
        produce, topics, held, found = self._producer.produce, self._topics, self._held, self._deliveries
        unheard: list[Outgoing] = []
        try:
            for record in records:
                topic = record.topic
                topics.append(topic)
                # One behind: the last record of a topic is always reported, and only `commit` knows which it is.
                before = held.get(topic)
                held[topic] = record
                if before is None:
                    found.setdefault(topic, Deliveries(all_reported=self._all_reported))
                    continue
                listener = found[topic].next_listener()
                if listener is None:
                    unheard.append(before)
                    continue
                if unheard:
                    produce_unheard(self._producer, unheard)
                    unheard = []
                _, partition, key, value, headers = before
                produce(topic, value, key, partition, listener, headers=list(headers))
            if unheard:
                produce_unheard(self._producer, unheard)
            poll(self._producer)
        except Exception as error:
            # It may raise without failing the transaction: whatever it was, half of what was to be written must not be kept.
            raise self._abort(error) from error

    def _produce_held(self) -> None:
        for topic, (_, partition, key, value, headers) in self._held.items():
            listener = self._deliveries[topic].last_listener()
            self._producer.produce(topic, value, key, partition, listener, headers=list(headers))
        self._held.clear()

    def commit(self, offset: tuple[TopicAndPartition, int]) -> list[int]:
        """Commits the records with the group's next offset. Returns the offsets of all that was produced, in order.

        Among many records, an offset may be given too high by the number of transaction markers that came in between; it is
        then still that of a record of this transaction, of the same topic, and never behind the next reported one.
        """
        writer, producer = self._writer, self._producer
        (topic, partition), next_offset = offset
        try:
            _check_next_offset(topic, partition, next_offset)
            self._produce_held()
            writer.on_step(Step.PRODUCED)
            left = flush(producer, writer.timeout_seconds)
            offsets = self._offsets(left)
            writer.on_step(Step.FLUSHED)
            if self._suspicion.reason is not None:
                self._give_up(self._suspicion.reason)
            # Last: if a late EndTxn tears the transaction here, the offset stays behind and replay heals; first, events are lost.
            writer.calls.call(
                writer.timeout_seconds + _NEVER_SECONDS,
                producer.send_offsets_to_transaction,
                [TopicPartition(topic, partition, next_offset)],
                self._metadata,
                writer.timeout_seconds,
            )
            writer.on_step(Step.OFFSETS_SENT)
            started = writer.monotonic()
            producer.commit_transaction(_UNLIMITED)
            self._suspicion.end_took(writer.monotonic() - started)
        except _GivenUp:
            self._over = True
            raise
        except NeverReturned as error:
            # The producer is still in that call and takes no other; whoever fences its id ends the transaction.
            self._over = True
            raise TransactionAborted(
                f"the group's coordinator took no offsets within {writer.timeout_seconds:g} s, and librdkafka forgot its time-out: "
                "memory returns to the last committed state"
            ) from error
        except Exception as error:  # whatever it was (librdkafka's binding raises SystemError on a fenced producer): nothing is committed
            raise self._abort(error) from error
        self._over = True
        writer.expect({(topic, partition): each.last + 1 for topic, each in self._deliveries.items()})
        writer.on_step(Step.COMMITTED)
        return offsets

    def _give_up(self, reason: str) -> None:
        # Where a coordinator went away, librdkafka forgets how long the offsets may take (see BoundedCalls): a broker that is back
        # at once would be waited for all that time. The producer is replaced in any case, and fencing its id ends the transaction.
        raise _GivenUp(
            f"the transaction was given up before its offsets were sent ({reason}): nothing of it was committed"
        )

    def abort(self, error: Exception) -> None:
        """Ends the transaction without a trace because of an error elsewhere; does nothing where it is over already."""
        if not self._over:
            self._abort(error)

    def _abort(self, error: Exception) -> LogError:
        self._over = True
        return self._writer.abort(self._producer, error)

    def _offsets(self, left: int) -> list[int]:
        for deliveries in self._deliveries.values():
            deliveries.check()
        if left:
            raise TransactionAborted("not every record was delivered in time, so the whole transaction was aborted")
        for topic, deliveries in self._deliveries.items():
            self._writer.check_offset(topic, deliveries.first)
        following = {topic: deliveries.offsets() for topic, deliveries in self._deliveries.items()}
        return [next(following[topic]) for topic in self._topics]
