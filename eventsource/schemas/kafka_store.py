"""Schemas in a compacted Kafka topic: one partition, keyed by fingerprint."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from confluent_kafka import KafkaError, KafkaException, Message

from eventsource.clock import Clock, SystemClock
from eventsource.errors import (
    BrokerUnavailable,
    LogError,
    OffsetLost,
    TopicMismatch,
    TopicMissing,
    UnknownFingerprint,
)
from eventsource.log.admin import LogAdmin
from eventsource.log.client_config import producer_config
from eventsource.log.kafka_clients import KafkaProducer
from eventsource.log.kafka_errors import translate
from eventsource.log.plain_producer import PlainProducer
from eventsource.log.reader import LogReader
from eventsource.log.record import Record
from eventsource.schemas.found_schemas import ROLES_HEADER, SCHEMA_KEY, FoundSchemas
from eventsource.schemas.limits import DEFAULT_LIMITS, Limits
from eventsource.schemas.schema_text import SchemaText
from eventsource.schemas.store import check_same

_PARTITION: Final = 0
_BATCH: Final = 500
_SLICE_SECONDS: Final = 0.25
_MOST_MISSING: Final = 1_000
_LOOK_AGAIN_SECONDS: Final = 1.0


class _Missing(NamedTuple):
    """A fingerprint that was looked for in vain."""

    waited_seconds: float
    until: float
    """The time up to which whoever would wait no longer does not wait at all."""


class KafkaSchemaStore:
    """A `SchemaStore` over the app's schemas topic, which is made elsewhere. Safe to share between threads.

    Nothing is connected before the first use. The topic is read to its end then, and again whenever a fingerprint is
    unknown: `get` goes on looking for `wait_seconds`, unless the caller has another patience. A fingerprint that was not
    found is not waited for again for `missing_seconds` by whoever has no more patience than that, so that damaged records
    cannot hold a reader up one by one; it is looked for once a second at most.

    Several stores may register one schema at the same time: the topic keeps one of the equal records.
    """

    def __init__(
        self,
        topic: str,
        client_config: Mapping[str, Any],
        *,
        wait_seconds: float = 30.0,
        request_timeout_seconds: float = 10.0,
        missing_seconds: float = 30.0,
        limits: Limits = DEFAULT_LIMITS,
        clock: Clock | None = None,
    ) -> None:
        self._topic = topic
        self._client_config = client_config
        self._bootstrap = str(client_config.get("bootstrap.servers", ""))
        self._wait_seconds = wait_seconds
        self._request_seconds = request_timeout_seconds
        self._missing_seconds = missing_seconds
        self._clock = clock or SystemClock()
        # What was found is read without the lock where it is known. Everything else belongs to the lock's holder.
        self._found = FoundSchemas(limits)
        self._known = self._found.known
        self._missing: dict[int, _Missing] = {}
        self._caught_up_at: float | None = None
        self._lock = threading.Lock()
        self._admin: LogAdmin | None = None
        self._reader: LogReader | None = None
        self._producer: PlainProducer | None = None
        self._closed = False

    # --- the protocol -----------------------------------------------------------------------------------------------

    def register(self, schema: SchemaText) -> None:
        """Writes the schema unless the topic has it, and returns once it is acknowledged by all in-sync replicas.

        Raises `FingerprintConflict`, `TopicMissing`, `BrokerUnavailable` or another `LogError`.
        """
        if not self._has(schema):
            with self._lock:
                self._catch_up()
                self._found.find(schema.fingerprint)
                if not self._has(schema):
                    self._write(schema)
                    # Whoever wrote first is in the log first: only the log tells whether that was somebody else.
                    self._catch_up()
                    self._found.find(schema.fingerprint)
        check_same(self._checked(schema.fingerprint), schema)

    def get(self, fingerprint: int, *, patience_seconds: float | None = None) -> SchemaText:
        """The schema with this fingerprint, catching up with the topic if need be.

        Raises `UnknownFingerprint` after `patience_seconds` (None: `wait_seconds`), `FingerprintConflict` when the topic has two
        texts for it, `TopicMissing`, `BrokerUnavailable` or another `LogError`.
        """
        if fingerprint not in self._known:
            self._look_for(fingerprint, self._wait_seconds if patience_seconds is None else patience_seconds)
        return self._checked(fingerprint)

    def close(self) -> None:
        """Lets go of the connections, at the latest after the request time-out. Again is a no-op."""
        self._closed = True
        # Whoever holds the lock may wait for a silent broker, and connects no more: the connections end with this store then.
        if self._lock.acquire(timeout=self._request_seconds):
            try:
                if self._reader is not None:
                    self._reader.close()
                if self._producer is not None:
                    self._producer.close(0.0)  # every write was waited for, so there is nothing to send
                if self._admin is not None:
                    self._admin.close()
                self._reader = self._producer = self._admin = None
            finally:
                self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _has(self, schema: SchemaText) -> bool:
        """Whether the topic has the schema, and says of it what it is used for here."""
        found, number = self._found, schema.fingerprint
        return number in found.known and number in found.stored and schema.roles <= found.roles.get(number, frozenset())

    # --- looking ----------------------------------------------------------------------------------------------------

    def _checked(self, fingerprint: int) -> SchemaText:
        if fingerprint in self._found.conflicts:
            raise self._found.conflicts[fingerprint]
        if fingerprint in self._known:
            return self._known[fingerprint]
        raise self._unknown(fingerprint, self._wait_seconds)

    def _look_for(self, fingerprint: int, patience_seconds: float) -> None:
        started = self._clock.monotonic()
        missing = self._missing.get(fingerprint)
        in_vain = missing is not None and started < missing.until and patience_seconds <= missing.waited_seconds
        with self._lock:
            if not self._find(fingerprint) and not (in_vain and self._has_just_caught_up(started)):
                self._catch_up()
                self._find(fingerprint)
        deadline = started if in_vain else started + patience_seconds
        while fingerprint not in self._known:
            left = deadline - self._clock.monotonic()
            # In slices, so that the others who wait can see whether theirs has come.
            with self._lock:
                if left <= 0:
                    if not in_vain:
                        self._remember_missing(fingerprint, patience_seconds)
                    raise self._unknown(fingerprint, patience_seconds)
                self._read(min(left, _SLICE_SECONDS))
                self._find(fingerprint)

    def _find(self, fingerprint: int) -> bool:
        return self._found.find(fingerprint) is not None

    def _has_just_caught_up(self, now: float) -> bool:
        return self._caught_up_at is not None and now - self._caught_up_at < _LOOK_AGAIN_SECONDS

    def _unknown(self, fingerprint: int, waited_seconds: float) -> UnknownFingerprint:
        text = (
            f"no schema with fingerprint {fingerprint:016x} is in topic {self._topic}, waited {waited_seconds:g} s: "
            "check that writer and reader use the same namespace and app"
        )
        if fingerprint in self._found.refused:
            text = (
                f"topic {self._topic} has a damaged schema under {fingerprint:016x}: {self._found.refused[fingerprint]}"
            )
        return UnknownFingerprint(text)

    def _remember_missing(self, fingerprint: int, waited_seconds: float) -> None:
        while len(self._missing) >= _MOST_MISSING:
            del self._missing[next(iter(self._missing))]
        self._missing[fingerprint] = _Missing(waited_seconds, self._clock.monotonic() + self._missing_seconds)

    # --- reading: for the lock's holder -------------------------------------------------------------------------------

    def _catch_up(self) -> None:
        """Reads to the end that the topic has now."""
        self._connected_reader()
        end = self._connected_admin().end_offsets([(self._topic, _PARTITION)])
        target = end[self._topic, _PARTITION]
        if self._position() > target:
            self._begin_again()
        deadline = self._clock.monotonic() + self._request_seconds
        while self._position() < target:
            if self._read(_SLICE_SECONDS):
                deadline = self._clock.monotonic() + self._request_seconds
            elif self._clock.monotonic() >= deadline:
                raise BrokerUnavailable(
                    f"topic {self._topic} could not be read to its end within {self._request_seconds:g} s: "
                    f"check that the brokers at {self._bootstrap} run"
                )
        self._caught_up_at = self._clock.monotonic()

    def _position(self) -> int:
        return self._connected_reader().position(self._topic, _PARTITION)

    def _read(self, timeout_seconds: float) -> bool:
        """Takes in what comes within the time; whether anything did, or a batch that cannot be read is about to be passed over."""
        reader = self._connected_reader()
        try:
            records = reader.read(_BATCH, timeout_seconds)
        except OffsetLost:
            self._begin_again()
            return True
        for record in records:
            self._take(record)
        return bool(records) or reader.is_held_up

    def _take(self, record: Record) -> None:
        if record.value is None or not SCHEMA_KEY.fullmatch(record.key):
            return  # a schema is never taken back, and other keys are nobody's schema
        self._found.take(record, int(record.key, 16))

    # --- writing: for the lock's holder -------------------------------------------------------------------------------

    def _write(self, schema: SchemaText) -> None:
        if self._producer is None:
            timeout_ms = int(self._request_seconds * 1_000)
            config = {**producer_config(self._client_config), "message.timeout.ms": timeout_ms}
            self._producer = PlainProducer(lambda: KafkaProducer(config))
        outcome: list[KafkaError | None] = []

        def delivered(error: KafkaError | None, _: Message) -> None:
            outcome.append(error)

        try:
            # Of the records with one key only the newest is kept: it says what all of them said.
            roles = ",".join(sorted(schema.roles | self._found.roles.get(schema.fingerprint, frozenset())))
            headers = [(ROLES_HEADER, roles.encode())] if roles else []
            self._producer.produce(
                self._topic, _PARTITION, schema.hex.encode(), schema.text.encode(), delivered, headers
            )
            self._producer.flush(self._request_seconds + 1)
        except KafkaException as error:
            raise translate(error.args[0], f"registering schema {schema.name}", self._bootstrap) from error
        if not outcome:
            raise BrokerUnavailable(
                f"schema {schema.name} was not acknowledged within {self._request_seconds:g} s: "
                f"check that the brokers at {self._bootstrap} run"
            )
        if outcome[0] is not None:
            raise translate(outcome[0], f"registering schema {schema.name}", self._bootstrap)

    # --- connections: for the lock's holder ---------------------------------------------------------------------------

    def _connected_admin(self) -> LogAdmin:
        if self._closed:
            raise LogError("the schema store is closed: make a new one")
        if self._admin is None:
            self._admin = LogAdmin(self._client_config, request_timeout_seconds=self._request_seconds)
        return self._admin

    def _connected_reader(self) -> LogReader:
        admin = self._connected_admin()
        if self._reader is None:
            self._check_topic(admin)
            first = admin.first_offsets([(self._topic, _PARTITION)])
            # Nobody of the framework's writes schemas in a transaction: one that somebody leaves open must not hide them.
            self._reader = LogReader(self._client_config, committed_only=False, ends_of=admin.end_offsets)
            self._reader.assign(first)
        return self._reader

    def _check_topic(self, admin: LogAdmin) -> None:
        partitions = admin.partition_counts([self._topic]).get(self._topic)
        if partitions is None:
            raise TopicMissing(f"topic {self._topic} is missing: make it with `eventsource topics apply MODULE:APP`")
        if partitions != 1:
            raise TopicMismatch(
                f"topic {self._topic} has {partitions} partitions where schemas need one order, hence one partition: "
                "make it anew, and let the apps register their schemas again"
            )

    def _begin_again(self) -> None:
        """After the topic was made anew, or cut: a schema read twice does no harm, one missed does."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._found.stored.clear()
        self._connected_reader()
