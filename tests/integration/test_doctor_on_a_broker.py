"""Everything that the doctor's rules are about, done to a real broker: each is found, and nothing else is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from eventsource.app import App
from eventsource.doctor import Diagnosis, Severity, check_start, examine, probes
from eventsource.domain import Aggregate, Command, Event, applies, creates, decides
from eventsource.errors import BrokerUnavailable, ClusterMismatch, OffsetLost, TopicMismatch
from eventsource.log.admin import LogAdmin
from eventsource.log.header_reading import read_event_headers
from eventsource.log.headers import EventHeaders, Origin, OutcomeHeaders, event_headers, outcome_headers
from eventsource.log.partitioner import partition_for
from eventsource.log.reader import LogReader
from eventsource.log.record import Record
from eventsource.log.topics import apply
from eventsource.settings import KafkaSettings, Settings
from eventsource.testing.stack import SessionStack
from eventsource.worker import Worker

PATIENCE_SECONDS = 30.0


class Open(Command, name="open"):
    pass


class Add(Command, name="add"):
    amount: int


class Opened(Event, name="opened"):
    pass


class Added(Event, name="added"):
    amount: int


class Counter(Aggregate, name="counter"):
    total: int = 0

    @creates
    @classmethod
    def open(cls, command: Open) -> Opened:
        return Opened()

    @creates
    @classmethod
    def on_opened(cls, event: Opened) -> Self:
        return cls()

    @decides
    def add(self, command: Add) -> tuple[Added, ...]:
        return (Added(amount=command.amount), Added(amount=command.amount))

    @applies
    def on_added(self, event: Added) -> None:
        self.total += event.amount


class BrokenCounter(Aggregate, name="counter"):
    """The same history, read by code that a colleague broke."""

    @creates
    @classmethod
    def open(cls, command: Open) -> Opened:
        return Opened()

    @creates
    @classmethod
    def on_opened(cls, event: Opened) -> Self:
        return cls()

    @decides
    def add(self, command: Add) -> Added:
        return Added(amount=command.amount)

    @applies
    def on_added(self, event: Added) -> None:
        raise ZeroDivisionError("unlucky")


SHOP = App("shop", aggregates=[Counter], partitions=2)
IN_PRODUCTION_ALONE = {"replication-factor", "min-insync-replicas", "internal-topics"}


class Log:
    """An app's log on the test's broker, and what one can do to it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        names = SHOP.names(settings.namespace)
        self.commands, self.events, self.outcomes = (
            names.commands("counter"),
            names.events("counter"),
            names.outcomes("counter"),
        )
        self.dead_letters, self.meta, self.schemas = names.dead_letters("counter"), names.meta, names.schemas
        self.group = names.owners("counter")
        self.config = settings.kafka.client_config()
        self.raw: Any = AdminClient(self.config)
        self.admin = LogAdmin(self.config)

    def alter(self, topic: str, setting: str, value: str) -> None:
        entry = ConfigEntry(setting, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        self.raw.incremental_alter_configs([resource])[resource].result(PATIENCE_SECONDS)
        until(lambda: self.admin.topic_configs([topic])[topic][setting] == value)

    def delete_topic(self, topic: str) -> None:
        self.raw.delete_topics([topic])[topic].result(PATIENCE_SECONDS)
        until(lambda: topic not in self.admin.topic_names())

    def create_again(self, topic: str, partitions: int) -> None:
        config = self.admin.topic_configs([topic])[topic]
        self.delete_topic(topic)
        wanted = ("retention.ms", "retention.bytes", "message.timestamp.type", "cleanup.policy")
        again = NewTopic(topic, partitions, 1, config={name: config[name] for name in wanted})
        self.admin.create_topics([again])

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        where = TopicPartition(topic, partition, before)
        self.raw.delete_records([where])[where].result(PATIENCE_SECONDS)

    def commit(self, topic: str, offset: int, group: str = "") -> None:
        """As kafka-consumer-groups does; a commit of an unused partition needs no live member."""
        request = ConsumerGroupTopicPartitions(group or self.group, [TopicPartition(topic, 0, offset)])
        for future in self.raw.alter_consumer_group_offsets([request]).values():
            future.result(PATIENCE_SECONDS)

    def forget_group(self) -> None:
        for future in self.raw.delete_consumer_groups([self.group]).values():
            future.result(PATIENCE_SECONDS)

    def write(self, topic: str, partition: int, key: bytes, value: bytes | None, headers: Any = ()) -> None:
        producer = Producer({**self.config, "acks": "all"})
        producer.produce(topic, value, key, partition, headers=list(headers))
        assert producer.flush(PATIENCE_SECONDS) == 0

    def read(self, topic: str) -> list[Record]:
        """The records of partition 0."""
        where, found = (topic, 0), list[Record]()
        end = self.admin.end_offsets([where], committed_only=True)[where]
        with LogReader(self.config) as reader:
            reader.assign({where: 0})
            while reader.position(*where) < end:
                found += reader.read(1_000, PATIENCE_SECONDS)
        return found

    def topic_id(self) -> bytes:
        return self.admin.topic_ids([self.commands])[self.commands]

    @contextmanager
    def worker(self) -> Iterator[None]:
        worker, ready, errors = Worker(SHOP, self.settings), threading.Event(), list[BaseException]()

        def work() -> None:
            try:
                worker.run(ready.set)
            except BaseException as error:  # noqa: BLE001 - told in the test's own thread
                errors.append(error)
                ready.set()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            assert ready.wait(PATIENCE_SECONDS)
            assert not errors, errors
            yield
        finally:
            worker.stop()
            thread.join(PATIENCE_SECONDS)
        assert not errors, errors

    def handle_some(self) -> None:
        """Two counters in partition 0 with an event, two more events and a command that is refused."""
        with self.worker(), SHOP.connect(self.settings) as client:
            for counter in IN_PARTITION_0[:2]:
                client.send(Counter, counter, Open())
                client.send(Counter, counter, Add(amount=1))
                with pytest.raises(Exception, match="exists already"):
                    client.send(Counter, counter, Open())


IN_PARTITION_0 = [id_ for id_ in map(str, range(50)) if partition_for(id_.encode(), 2) == 0]


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def settings(eventsource_stack: SessionStack, eventsource_namespace: str) -> Settings:
    kafka = KafkaSettings(bootstrap_servers=eventsource_stack.bootstrap_servers)
    return Settings(_env_file=None, namespace=eventsource_namespace, kafka=kafka)  # type: ignore[call-arg]


@pytest.fixture
def log(settings: Settings) -> Log:
    apply(SHOP, settings)
    return Log(settings)


@pytest.fixture
def handled(log: Log) -> Log:
    log.handle_some()
    return log


def broken(diagnosis: Diagnosis) -> dict[str, str]:
    """The broken rules and their problems, but for those that no single broker can keep."""
    return {
        finding.rule: finding.problem
        for finding in [*diagnosis.dangers, *diagnosis.warnings]
        if not (finding.rule in IN_PRODUCTION_ALONE and finding.severity is Severity.WARNING)
    }


def only(log: Log, rule: str, app: App = SHOP, **options: Any) -> str:
    """The problem of the one rule that is broken."""
    found = broken(examine(app, log.settings, **options))
    assert list(found) == [rule], found
    return found[rule]


# --- nothing is wrong --------------------------------------------------------------------------------------------


def test_a_log_that_was_worked_with_is_sound(handled: Log) -> None:
    diagnosis = examine(SHOP, handled.settings)
    assert broken(diagnosis) == {}
    assert {finding.rule for finding in diagnosis.warnings} == IN_PRODUCTION_ALONE
    histories = diagnosis.facts.histories.get()
    assert [(each.partition, each.events, each.outcomes, each.last_origin) for each in histories] == [
        (0, 6, 2, 5),
        (1, 0, 0, -1),
    ]
    assert broken(examine(SHOP, handled.settings, replay=False)) == {}
    check_start(SHOP, handled.settings)


def test_a_log_that_is_being_worked_with_is_sound(log: Log) -> None:
    stop = threading.Event()

    def send() -> None:
        with SHOP.connect(log.settings) as client:
            for number in range(100_000):
                if stop.is_set():
                    return
                client.submit(Counter, f"c-{number}", Open())

    with log.worker():
        sender = threading.Thread(target=send)
        sender.start()
        try:
            until(lambda: sum(log.admin.end_offsets([(log.events, 0), (log.events, 1)]).values()) > 500)
            for replay in (True, False):
                assert broken(examine(SHOP, log.settings, replay=replay)) == {}
            check_start(SHOP, log.settings)
        finally:
            stop.set()
            sender.join()


def test_one_broker_is_dangerous_in_production(log: Log) -> None:
    found = examine(SHOP, log.settings, replay=False, production=True).dangers
    assert {finding.rule for finding in found} == IN_PRODUCTION_ALONE
    with pytest.raises(ClusterMismatch, match="replication-factor"):
        check_start(SHOP, log.settings.model_copy(update={"environment": "production"}))


# --- topics ------------------------------------------------------------------------------------------------------


def test_missing_topics_are_found(settings: Settings) -> None:
    problem = only(Log(settings), "topics-missing")
    assert problem.count(settings.namespace) == 7


def test_a_topic_that_is_not_recorded_is_found(log: Log) -> None:
    log.create_again(log.meta, 1)
    assert log.events in only(log, "topics-unrecorded")


def test_a_topic_that_is_gone_is_found(log: Log) -> None:
    log.delete_topic(log.dead_letters)
    assert log.dead_letters in only(log, "topic-gone")


def test_a_topic_that_was_made_anew_is_found(handled: Log) -> None:
    handled.create_again(handled.dead_letters, 2)
    assert handled.dead_letters in only(handled, "topic-recreated")


def test_another_partition_count_in_the_app_is_found(log: Log) -> None:
    assert "has 2 partitions, the app wants 3" in only(
        log, "partition-count", App("shop", aggregates=[Counter], partitions=3)
    )


def test_partitions_that_were_added_are_found_whatever_the_app_wants(log: Log) -> None:
    for topic in (log.commands, log.events, log.outcomes, log.dead_letters):
        log.raw.create_partitions([NewPartitions(topic, 3)])[topic].result(PATIENCE_SECONDS)
    until(lambda: log.admin.partition_counts([log.dead_letters])[log.dead_letters] == 3)
    found = only(log, "partition-count", App("shop", aggregates=[Counter], partitions=3))
    assert "3 partitions, 2 were recorded" in found


@pytest.mark.parametrize(
    ("topic", "setting", "value", "rule"),
    [
        ("events", "retention.ms", "604800000", "events-retention"),
        ("outcomes", "retention.bytes", "1000000000", "events-retention"),
        ("dead_letters", "retention.ms", "604800000", "events-retention"),
        ("events", "cleanup.policy", "compact", "cleanup-policy"),
        ("commands", "cleanup.policy", "delete,compact", "cleanup-policy"),
        ("schemas", "cleanup.policy", "delete", "meta-compaction"),
        ("meta", "cleanup.policy", "compact,delete", "meta-compaction"),
        ("commands", "message.timestamp.type", "CreateTime", "timestamp-type"),
        ("events", "unclean.leader.election.enable", "true", "unclean-election"),
        ("schemas", "unclean.leader.election.enable", "true", "unclean-election"),
        ("commands", "retention.ms", "3600000", "commands-retention"),
        ("outcomes", "max.message.bytes", "1000", "message-size"),
    ],
)
def test_a_setting_that_was_altered_is_found(log: Log, topic: str, setting: str, value: str, rule: str) -> None:
    name = getattr(log, topic)
    log.alter(name, setting, value)
    problem = only(log, rule, replay=False)
    assert name in problem
    assert value in problem or rule == "commands-retention"


def test_a_worker_refuses_to_start_on_events_that_may_be_deleted(log: Log) -> None:
    log.alter(log.events, "retention.ms", "604800000")
    with pytest.raises(
        TopicMismatch, match=r"kafka-configs .* --add-config retention.ms=-1` \(rule events-retention\)"
    ):
        check_start(SHOP, log.settings)
    check_start(SHOP, log.settings, accepted=["events-retention"])


# --- brokers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"transaction_timeout_seconds": 901}, "transaction-timeout"),
        ({"session_timeout_seconds": 0.5}, "session-timeout"),
        ({"session_timeout_seconds": 1_801}, "session-timeout"),
    ],
)
def test_time_outs_that_the_brokers_do_not_allow_are_found(log: Log, changes: dict[str, float], rule: str) -> None:
    kafka = log.settings.kafka.model_copy(update=changes)
    log.settings = log.settings.model_copy(update={"kafka": kafka})
    only(log, rule, replay=False)
    with pytest.raises(ClusterMismatch, match=rule):
        check_start(SHOP, log.settings)
    check_start(SHOP, log.settings, commands_of=[])


def test_brokers_that_do_not_answer_are_a_finding() -> None:
    kafka = KafkaSettings(bootstrap_servers="127.0.0.1:1", request_timeout_seconds=2)
    settings = Settings(_env_file=None, kafka=kafka)  # type: ignore[call-arg]
    diagnosis = examine(SHOP, settings)
    (finding,) = diagnosis.dangers
    assert (finding.rule, finding.checked) == ("brokers-reachable", False)
    assert "127.0.0.1:1" in finding.mend
    assert not diagnosis.facts.production
    with pytest.raises(BrokerUnavailable):
        check_start(SHOP, settings)


# --- offsets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("topic", ["events", "outcomes"])
def test_records_that_were_deleted_are_found(handled: Log, topic: str) -> None:
    handled.delete_records(getattr(handled, topic), 0, 1)
    found = broken(examine(SHOP, handled.settings, replay=False))
    assert list(found) == ["events-deleted"]
    assert "[0] begins at offset 1" in found["events-deleted"]
    for commands_of in (None, []):
        with pytest.raises(OffsetLost, match="events-deleted"):
            check_start(SHOP, handled.settings, commands_of=commands_of)


def test_commands_that_were_deleted_before_they_were_handled_are_found(handled: Log) -> None:
    for _ in range(3):
        handled.write(handled.commands, 0, IN_PARTITION_0[0].encode(), b"")
    handled.delete_records(handled.commands, 0, 8)
    assert "begins at offset 8, and commands are handled up to 6: 2 offsets" in only(handled, "commands-deleted")
    with pytest.raises(OffsetLost, match="commands-deleted"):
        check_start(SHOP, handled.settings)


def test_handled_commands_may_be_deleted(handled: Log) -> None:
    handled.delete_records(handled.commands, 0, 6)
    assert broken(examine(SHOP, handled.settings)) == {}


@pytest.mark.parametrize("replay", [True, False])
def test_a_group_that_was_deleted_is_found(handled: Log, replay: bool) -> None:
    handled.forget_group()
    problem = only(handled, "committed-offset-missing", replay=replay)
    assert "yet commands up to offset 5 were handled" in problem


@pytest.mark.parametrize("replay", [True, False])
def test_an_offset_that_was_set_too_far_back_is_found(handled: Log, replay: bool) -> None:
    key = IN_PARTITION_0[2].encode()
    (sample, *_) = handled.read(handled.events)
    far = read_event_headers(sample.headers)
    far.command_id, far.origin = "far-ahead", Origin(handled.topic_id(), 0, 10_005)
    handled.write(handled.events, 0, key, sample.value, event_headers(far))
    assert broken(examine(SHOP, handled.settings, replay=replay)) == {}, "a torn transaction may leave it so far behind"
    handled.commit(handled.commands, 5)
    assert "committed offset 5 " in only(handled, "committed-offset-behind", replay=replay)


def test_an_offset_past_the_end_is_found(handled: Log) -> None:
    handled.commit(handled.commands, 7)
    assert "committed offset 7 " in only(handled, "committed-offset-past-end")
    with pytest.raises(OffsetLost, match="committed-offset-past-end"):
        check_start(SHOP, handled.settings)


def test_another_consumer_in_the_owners_group_is_found(handled: Log) -> None:
    consumer = Consumer({**handled.config, "group.id": handled.group})
    consumer.commit(offsets=[TopicPartition(handled.events, 0, 1)], asynchronous=False)
    consumer.close()
    assert handled.events in only(handled, "stray-offsets")


def test_the_newest_commands_are_found_behind_aborted_transactions(handled: Log) -> None:
    producer = Producer({**handled.config, "transactional.id": f"{handled.settings.namespace}.aborted"})
    producer.init_transactions()
    producer.begin_transaction()
    for _ in range(200):
        producer.produce(handled.events, b"", b"", 0)
    producer.flush()
    producer.abort_transaction()
    handled.forget_group()
    assert "up to offset 5 were handled" in only(handled, "committed-offset-missing", replay=False)


# --- the log -----------------------------------------------------------------------------------------------------


def test_a_transaction_that_hangs_is_found_once_it_is_too_old(handled: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "_MARGIN_MS", 0)
    kafka = handled.settings.kafka.model_copy(update={"transaction_timeout_seconds": 2.0})
    handled.settings = handled.settings.model_copy(update={"kafka": kafka})
    producer = Producer({**handled.config, "transactional.id": f"{handled.settings.namespace}.hanging"})
    producer.init_transactions()
    producer.begin_transaction()
    producer.produce(handled.events, b"", b"", 0)
    producer.produce(handled.dead_letters, b"", b"", 1)
    producer.flush()
    began = time.monotonic()
    assert broken(examine(SHOP, handled.settings)) == {}
    until(lambda: "hanging-transaction" in broken(examine(SHOP, handled.settings, replay=False)))
    assert time.monotonic() - began >= 3, "its time-out of 2 s, and the second in which the broker looks after it"
    # Whatever else is in that partition can be read up to there.
    found = [finding.subject for finding in examine(SHOP, handled.settings).dangers]
    assert found == [f"{handled.events}[0]", f"{handled.dead_letters}[1]"]
    producer.abort_transaction()
    until(lambda: broken(examine(SHOP, handled.settings, replay=False)) == {})


class SlowClock:
    """A clock that goes wrong by a fixed time."""

    def __init__(self, off: timedelta) -> None:
        self._off = off

    def now(self) -> datetime:
        return datetime.now(UTC) + self._off

    def monotonic(self) -> float:
        return time.monotonic()


@pytest.mark.parametrize(
    ("off", "severity", "text"),
    [
        (timedelta(minutes=2), Severity.WARNING, "s ahead of"),
        (timedelta(minutes=-2), Severity.WARNING, "s behind"),
        (timedelta(hours=2), Severity.DANGER, "s ahead of"),
    ],
)
def test_a_clock_that_is_wrong_is_found(log: Log, off: timedelta, severity: Severity, text: str) -> None:
    diagnosis = examine(SHOP, log.settings, clock=SlowClock(off), replay=False)
    (finding,) = [each for each in (*diagnosis.dangers, *diagnosis.warnings) if each.rule not in IN_PRODUCTION_ALONE]
    assert (finding.rule, finding.severity) == ("clock-skew", severity)
    assert text in finding.problem


def test_a_wrong_clock_makes_no_open_transaction_hang(handled: Log) -> None:
    producer = Producer({**handled.config, "transactional.id": f"{handled.settings.namespace}.open"})
    producer.init_transactions()
    producer.begin_transaction()
    producer.produce(handled.events, b"", b"", 0)
    producer.flush()
    assert list(broken(examine(SHOP, handled.settings, clock=SlowClock(timedelta(minutes=10))))) == ["clock-skew"]
    producer.abort_transaction()


def test_records_that_are_not_the_frameworks_are_found_one_by_one(handled: Log) -> None:
    handled.write(handled.events, 1, b"d", b"{}")
    handled.write(handled.outcomes, 1, b"x", b"{}")
    headers = OutcomeHeaders("c", "t", "/s", 1, Origin(handled.topic_id(), 1, 0), 0, bytes(8))
    handled.write(handled.outcomes, 1, b"x", b"no Avro", outcome_headers(headers))
    diagnosis = examine(SHOP, handled.settings, replay=True)
    subjects = [finding.subject for finding in diagnosis.dangers if finding.rule == "foreign-record"]
    assert subjects == [f"{handled.events}[1]@0", f"{handled.outcomes}[1]@0", f"{handled.outcomes}[1]@1"]
    assert broken(examine(SHOP, handled.settings, replay=False)).keys() <= {
        "committed-offset-missing",
        "committed-offset-behind",
    }


def test_foreign_records_in_the_meta_and_schemas_topics_are_skipped_and_named(handled: Log) -> None:
    foreign = [
        b"nonsense",
        b"[" * 100_000,
        b'{"topic_id": "' + b"0" * 32 + b'", "partitions": 1e400}',
        b'{"a": 1' + b"0" * 5_000,
    ]
    for value in [*foreign, None]:
        handled.write(handled.meta, 0, handled.events.encode(), value)
        handled.write(handled.schemas, 0, b"%016x" % 7, value)
    handled.write(handled.schemas, 0, b"no fingerprint", b"{}")
    open_ = Producer({**handled.config, "transactional.id": f"{handled.meta}.foreign"})
    open_.init_transactions(PATIENCE_SECONDS)
    open_.begin_transaction()
    for topic in (handled.meta, handled.schemas):
        open_.produce(topic, b"{}", handled.events.encode(), 0)
    open_.flush(PATIENCE_SECONDS)
    try:
        with handled.worker(), SHOP.connect(handled.settings) as client:
            client.send(Counter, IN_PARTITION_0[0], Add(amount=1))
        diagnosis = examine(SHOP, handled.settings, replay=False)
        named = {finding.subject: str(finding) for finding in diagnosis.warnings if finding.rule == "foreign-entry"}
        assert set(named) == {handled.meta, handled.schemas}
        assert "and so are 5 others" in named[handled.meta]
        assert "and so are 6 others" in named[handled.schemas]
        assert not [finding for finding in diagnosis.dangers if finding.subject in named]
    finally:
        open_.abort_transaction(PATIENCE_SECONDS)


def an_event(log: Log, index: int = 0) -> tuple[Record, EventHeaders]:
    record = log.read(log.events)[index]
    return record, read_event_headers(record.headers)


def test_an_event_in_the_wrong_partition_is_found(handled: Log) -> None:
    record, _ = an_event(handled)
    handled.write(handled.events, 1, record.key, record.value, record.headers)
    found = broken(examine(SHOP, handled.settings))
    # No owner takes it for the event of a command that was handled in partition 1, so no offset is missing there.
    assert set(found) == {"misrouted-event"}
    assert "belongs to partition 0" in found["misrouted-event"]


def stopped(log: Log, app: App = SHOP) -> dict[str, str]:
    found = [finding for finding in examine(app, log.settings).dangers if finding.severity is Severity.DANGER]
    assert {finding.rule for finding in found} == {"stopped-aggregate"}
    return {finding.subject: finding.problem for finding in found}


def test_an_aggregate_with_a_repeat_is_named(handled: Log) -> None:
    record, _ = an_event(handled)
    handled.write(handled.events, 0, record.key, record.value, record.headers)
    ((subject, problem),) = stopped(handled).items()
    assert subject == f"counter {record.key.decode()}"
    assert "its log has a repeat" in problem


def test_an_aggregate_with_a_gap_is_named(handled: Log) -> None:
    record, headers = an_event(handled)
    headers.command_id, headers.version = "another", 9
    handled.write(handled.events, 0, record.key, record.value, event_headers(headers))
    ((_, problem),) = stopped(handled).items()
    assert "its log has a gap" in problem


def test_an_aggregate_with_an_incomplete_command_is_named(handled: Log) -> None:
    record, headers = an_event(handled, 1)
    headers.command_id, headers.version = "torn", 4
    handled.write(handled.events, 0, record.key, record.value, event_headers(headers))
    ((_, problem),) = stopped(handled).items()
    assert "only 1 of 2 events of command torn" in problem


@pytest.mark.parametrize("value", [b"\xc3\x01" + bytes(8) + b"body", b"nonsense", None])
def test_an_aggregate_whose_event_cannot_be_decoded_is_named(handled: Log, value: bytes | None) -> None:
    record, headers = an_event(handled)
    headers.command_id, headers.version = "garbled", 4
    handled.write(handled.events, 0, record.key, value, event_headers(headers))
    assert list(stopped(handled)) == [f"counter {record.key.decode()}"]


def test_aggregates_whose_events_cannot_be_applied_are_all_named(handled: Log) -> None:
    found = stopped(handled, App("shop", aggregates=[BrokenCounter], partitions=2))
    assert list(found) == [f"counter {each}" for each in IN_PARTITION_0[:2]]
    assert all("ZeroDivisionError: unlucky" in problem for problem in found.values())
