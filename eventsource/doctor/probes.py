"""The questions that the rules need answered, asked of the cluster: all of the doctor's I/O but the replay."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Final, Self, TypeVar

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError, KafkaException, Message

from eventsource.app import App
from eventsource.clock import Clock
from eventsource.doctor.answer import Answer, ask
from eventsource.doctor.facts import INTERNAL_TOPICS, ClockReading, Facts, Hanging, Owned, PartitionHistory
from eventsource.doctor.hanging import HangingProbe, has_one_clock
from eventsource.doctor.last_origins import read_last_origins
from eventsource.errors import ClusterMismatch
from eventsource.log.admin import LogAdmin, TopicAndPartition
from eventsource.log.client_config import producer_config
from eventsource.log.committed import committed_offsets
from eventsource.log.headers import NO_CLIENT
from eventsource.log.kafka_clients import KafkaProducer
from eventsource.log.kafka_errors import translate
from eventsource.log.meta_topic import ForeignRecords, TopicRecord, read_meta
from eventsource.log.recorded import ms_from_time
from eventsource.log.topics import TopicState, read_topic_records, read_topic_states, topic_specs
from eventsource.log.transaction_state import OFFSETS_TOPIC, TRANSACTION_TOPIC, coordinator_partition
from eventsource.schemas import SchemaText
from eventsource.schemas.history_check import Unreadable, unreadable_history
from eventsource.schemas.registered_schemas import read_registered
from eventsource.settings import Settings

T = TypeVar("T")

_HOUR_MS: Final = 3_600_000
_MINUTE_MS: Final = 60_000
_CLEANUP_SETTING: Final = "transaction.abort.timed.out.transaction.cleanup.interval.ms"
_DEFAULT_CLEANUP_MS: Final = 10_000
_MARGIN_MS: Final = 5_000
_PARALLEL: Final = 8
_COMMITTED_PARTITIONS: Final = 1_000


class Probes:
    """Asks about one app. Everything that does not rest on another answer is asked at the same time. Close it, or use `with`."""

    def __init__(self, app: App, settings: Settings, clock: Clock, *, aggregates: Iterable[str] | None = None) -> None:
        self._app = app
        self._settings = settings
        self._clock = clock
        self._timeout_seconds = settings.kafka.request_timeout_seconds
        self._config = settings.kafka.client_config()
        self._admin = LogAdmin(self._config, request_timeout_seconds=self._timeout_seconds)
        self._owned = owned_topics(app, settings, aggregates)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._admin.close()

    def at_start(self, *, for_owners: bool, production: bool | None) -> Facts:
        """What the rules of a worker's start need. With `production=None` the setting decides, else the number of brokers."""
        specs = tuple(topic_specs(self._app, self._settings))
        brokers = ask(lambda: tuple(self._admin.broker_ids()))
        if brokers.error is not None:
            return Facts(self._settings, bool(production), specs, self._owned, brokers)
        facts = Facts(self._settings, self._judge(production, len(brokers.get())), specs, self._owned, brokers)
        with ThreadPoolExecutor(_PARALLEL) as pool:
            topics = _asked(pool, lambda: self._topics([spec.name for spec in specs]))
            recorded = _asked(pool, self._recorded)
            unreadable = _asked(pool, self._unreadable)
            internal = _asked(pool, lambda: self._topics(INTERNAL_TOPICS)) if for_owners else None
            settings = {
                broker: _asked(pool, partial(self._broker_settings, broker)) for broker in brokers.get() if for_owners
            }
            found = topics.result()
            firsts = _asked(pool, lambda: self._firsts(found.get()))
            committed = _asked(pool, lambda: self._committed(found.get())) if for_owners else None
            facts = replace(
                facts,
                topics=found,
                recorded=recorded.result(),
                unreadable=unreadable.result(),
                broker_settings={broker: answer.result() for broker, answer in settings.items()},
                firsts=firsts.result(),
            )
            if internal is not None and committed is not None:
                facts = replace(facts, internal=internal.result(), committed=committed.result())
                # After the offsets: they move on, and must not be found past an end that was asked before.
                facts = replace(facts, ends=ask(lambda: self._ends(found.get())))
        return facts

    def of_the_log(self, facts: Facts, histories: Answer[tuple[PartitionHistory, ...]] | None = None) -> Facts:
        """What only the doctor asks, on top. The newest handled commands come from `histories`, where there are any."""
        origins: Answer[Mapping[TopicAndPartition, int]] = (
            ask(lambda: self._last_origins(facts.topics.get()))
            if histories is None
            else ask(lambda: self._origins_of(histories.get()))
        )
        clock = ask(lambda: self._read_clock(facts.topics.get()))
        limit_ms = self._open_limit_ms(facts)
        return replace(
            facts,
            histories=histories if histories is not None else facts.histories,
            last_origins=origins,
            # Again, after the origins: what was handled meanwhile must not look like a lost offset.
            committed=ask(lambda: self._committed(facts.topics.get())),
            ends=ask(lambda: self._ends(facts.topics.get())),
            strays=ask(self._strays),
            clock=clock,
            open_limit_seconds=limit_ms / 1_000,
            hanging=ask(lambda: self._hanging(facts, facts.topics.get(), clock, limit_ms)),
            foreign=ask(self._foreign),
        )

    def _judge(self, production: bool | None, brokers: int) -> bool:
        if production is not None:
            return production
        environment = self._settings.environment
        return environment == "production" or (environment == "auto" and brokers > 1)

    # --- topics --------------------------------------------------------------------------------------------------

    def _broker_settings(self, broker: int) -> Mapping[str, str]:
        return self._admin.broker_config(broker)

    def _topics(self, names: Sequence[str]) -> Mapping[str, TopicState]:
        return read_topic_states(self._admin, names)

    def _recorded(self) -> Mapping[str, TopicRecord]:
        return read_topic_records(self._app, self._settings, self._admin)

    def _registered(self) -> tuple[list[SchemaText], ForeignRecords]:
        return read_registered(self._app.names(self._settings.namespace).schemas, self._settings, self._admin)

    def _unreadable(self) -> tuple[Unreadable, ...]:
        return tuple(unreadable_history(self._app.aggregates, self._registered()[0]))

    def _foreign(self) -> Mapping[str, ForeignRecords]:
        names = self._app.names(self._settings.namespace)
        return {names.meta: read_meta(names.meta, self._settings, self._admin)[1], names.schemas: self._registered()[1]}

    def _there(
        self, topics: Mapping[str, TopicState], partitions: Callable[[Owned], list[TopicAndPartition]]
    ) -> list[TopicAndPartition]:
        return [
            (topic, number)
            for owned in self._owned
            for topic, number in partitions(owned)
            if topic in topics and number < topics[topic].partitions
        ]

    # --- offsets -------------------------------------------------------------------------------------------------

    def _firsts(self, topics: Mapping[str, TopicState]) -> Mapping[TopicAndPartition, int]:
        return self._admin.first_offsets(
            self._there(topics, lambda owned: owned.command_partitions() + owned.fact_partitions())
        )

    def _ends(self, topics: Mapping[str, TopicState]) -> Mapping[TopicAndPartition, int]:
        return self._admin.end_offsets(self._there(topics, Owned.command_partitions))

    def _committed(self, topics: Mapping[str, TopicState]) -> Mapping[TopicAndPartition, int | None]:
        found: dict[TopicAndPartition, int | None] = {}
        for owned in self._owned:
            partitions = [
                where for where in self._there(topics, Owned.command_partitions) if where[0] == owned.commands
            ]
            if partitions:
                found.update(self._committed_of(owned.group, partitions))
        return found

    def _committed_of(
        self, group: str, partitions: Sequence[TopicAndPartition]
    ) -> Mapping[TopicAndPartition, int | None]:
        # Not the stable ones: those of a busy group, or of one with a hanging transaction, may be a long time coming.
        return committed_offsets(self._config, group, partitions, timeout_seconds=self._timeout_seconds, stable=False)

    def _last_origins(self, topics: Mapping[str, TopicState]) -> Mapping[TopicAndPartition, int]:
        found: dict[TopicAndPartition, int] = {}
        for owned in whole(self._owned, topics):
            topic_id = topics[owned.commands].topic_id
            found.update(read_last_origins(owned, topic_id, self._admin, self._config, self._timeout_seconds))
        return found

    def _origins_of(self, histories: Sequence[PartitionHistory]) -> Mapping[TopicAndPartition, int]:
        commands = {owned.aggregate: owned.commands for owned in self._owned}
        return {(commands[each.aggregate], each.partition): each.last_origin for each in histories}

    def _strays(self) -> Mapping[str, tuple[TopicAndPartition, ...]]:
        there = self._admin.partitions()
        found: dict[str, tuple[TopicAndPartition, ...]] = {}
        for owned in self._owned:
            others = [where for where in there if where[0] != owned.commands and where[0] not in INTERNAL_TOPICS]
            strays: list[TopicAndPartition] = []
            for start in range(0, len(others), _COMMITTED_PARTITIONS):
                offsets = self._committed_of(owned.group, others[start : start + _COMMITTED_PARTITIONS])
                strays += [where for where, offset in offsets.items() if offset is not None]
            if strays:
                found[owned.group] = tuple(strays)
        return found

    # --- time ----------------------------------------------------------------------------------------------------

    def _now_ms(self) -> int:
        return ms_from_time(self._clock.now())

    def _read_clock(self, topics: Mapping[str, TopicState]) -> ClockReading | None:
        """Sends a record without a value to the replies topic, for no client, and takes its LogAppendTime.

        None where there is no such topic.
        """
        topic = self._app.names(self._settings.namespace).replies
        if topic not in topics:
            return None
        reports: list[tuple[KafkaError | None, Message, int]] = []
        producer = KafkaProducer(
            {**producer_config(self._config), "message.timeout.ms": int(self._timeout_seconds * 1_000)}
        )
        sent_ms = self._now_ms()
        try:
            producer.produce(
                topic,
                key=NO_CLIENT,
                partition=0,
                on_delivery=lambda error, message: reports.append((error, message, self._now_ms())),
            )
            producer.flush(self._timeout_seconds + 1)
        except KafkaException as error:
            raise translate(error.args[0], f"writing to {topic}", self._settings.kafka.bootstrap_servers) from error
        if not reports:
            raise ClusterMismatch(f"no broker acknowledged a record in {topic}: check the brokers' logs")
        failure, message, acknowledged_ms = reports[0]
        if failure is not None:
            raise translate(failure, f"writing to {topic}", self._settings.kafka.bootstrap_servers)
        kind, broker_ms = message.timestamp()
        if kind != TIMESTAMP_LOG_APPEND_TIME:
            raise ClusterMismatch(
                f"topic {topic} has not the broker's time: set its message.timestamp.type=LogAppendTime"
            )
        return ClockReading(sent_ms, acknowledged_ms, broker_ms)

    def _open_limit_ms(self, facts: Facts) -> int:
        """How long a transaction may be open: its time-out, what the broker takes to end it then, and a margin."""
        cleanup = [
            int(answer.get().get(_CLEANUP_SETTING) or _DEFAULT_CLEANUP_MS)
            for answer in facts.broker_settings.values()
            if answer.error is None
        ]
        timeout_ms = int(self._settings.kafka.transaction_timeout_seconds * 1_000)
        return timeout_ms + max(cleanup, default=_DEFAULT_CLEANUP_MS) + _MARGIN_MS

    def _hanging(
        self, facts: Facts, topics: Mapping[str, TopicState], clock: Answer[ClockReading | None], limit_ms: int
    ) -> tuple[Hanging, ...]:
        """The open transactions whose first record is older than the limit.

        The last stable offset is that of the oldest open transaction's first record: if the first record that is young enough
        stands behind it, the transaction has been open for too long.
        """
        internal = facts.internal.get() if facts.internal.error is None else {}
        writers = self._writers(topics, internal)
        stable = self._admin.end_offsets(writers, committed_only=True)
        ends = self._admin.end_offsets(writers)
        held = [where for where in writers if stable[where] < ends[where]]
        reading = clock.get() if clock.error is None else None
        broker_now_ms = self._now_ms() - (reading.ahead_ms if reading is not None else 0)
        young = self._admin.offsets_since(held, broker_now_ms - limit_ms)
        probe = HangingProbe(
            self._admin,
            self._config,
            coordinator_partitions=internal[TRANSACTION_TOPIC].partitions if TRANSACTION_TOPIC in internal else 0,
            one_clock=facts.brokers.error is None
            and has_one_clock(facts.brokers.get(), [*internal.values(), *topics.values()]),
            timeout_seconds=self._timeout_seconds,
        )
        return tuple(
            probe.look_up(where, stable[where], writers[where], broker_now_ms)
            for where in held
            if (first := young[where]) is None or first > stable[where]
        )

    def _writers(
        self, topics: Mapping[str, TopicState], internal: Mapping[str, TopicState]
    ) -> dict[TopicAndPartition, dict[TopicAndPartition, tuple[str, ...]]]:
        """Who writes to each partition in transactions: the transactional ids, by the partition of the commands topic.

        The partition of an aggregate's group in the offsets topic is written to by all its owners.
        """
        names = self._app.names(self._settings.namespace)
        found: dict[TopicAndPartition, dict[TopicAndPartition, tuple[str, ...]]] = {}
        for owned in self._owned:
            ids = {
                (owned.commands, number): tuple(
                    names.transactional_id(owned.aggregate, number, turn) for turn in (0, 1)
                )
                for number in range(owned.partitions)
            }
            for topic, number in owned.written_partitions():
                if topic in topics and number < topics[topic].partitions:
                    mine = (owned.commands, number)
                    found[topic, number] = {mine: ids[mine]}
            if OFFSETS_TOPIC in internal:
                place = (OFFSETS_TOPIC, coordinator_partition(owned.group, internal[OFFSETS_TOPIC].partitions))
                found[place] = {**found.get(place, {}), **ids}
        return found


def owned_topics(app: App, settings: Settings, aggregates: Iterable[str] | None = None) -> tuple[Owned, ...]:
    """The aggregates of an app as their owners see them; those named, or all."""
    names = app.names(settings.namespace)
    window_ms = int(settings.worker.deduplication_window_hours * _HOUR_MS)
    return tuple(
        Owned(
            name,
            names.owners(name),
            names.commands(name),
            names.events(name),
            names.outcomes(name),
            names.dead_letters(name),
            app.partitions_of(aggregate),
            None if aggregate in app.remember_commands_forever else window_ms,
        )
        for name, aggregate in app.aggregates.items()
        if aggregates is None or name in set(aggregates)
    )


def whole(owned: Iterable[Owned], topics: Mapping[str, TopicState]) -> tuple[Owned, ...]:
    """Those aggregates whose topics are all there, with the partitions that the app wants: what is missing is another rule's."""
    return tuple(
        each
        for each in owned
        if all(
            topic in topics and topics[topic].partitions >= each.partitions
            for topic in (each.commands, each.events, each.outcomes)
        )
    )


def _asked(pool: ThreadPoolExecutor, question: Callable[[], T]) -> Future[Answer[T]]:
    return pool.submit(ask, question)
