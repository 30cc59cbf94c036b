"""Every rule of the doctor, judging facts that are made here: what breaks it, what does not, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Self

import pytest

from eventsource.app import App
from eventsource.doctor import RULES, Facts, Finding, PartitionHistory, Severity, judge
from eventsource.doctor.answer import answered, unanswered
from eventsource.doctor.facts import ClockReading, Decision, Hanging
from eventsource.doctor.probes import owned_topics
from eventsource.domain import Aggregate, Command, Event, creates
from eventsource.errors import BrokerUnavailable, LogError
from eventsource.log.meta_topic import ForeignRecords, TopicRecord
from eventsource.log.topics import TopicState, topic_specs
from eventsource.schemas.history_check import Unreadable
from eventsource.settings import MAX_TRANSACTION_COMMANDS, KafkaSettings, Settings, WorkerSettings

DANGER, WARNING = Severity.DANGER, Severity.WARNING


class Open(Command, name="open"):
    pass


class Opened(Event, name="opened"):
    pass


class Account(Aggregate, name="account"):
    @creates
    @classmethod
    def open(cls, command: Open) -> Opened:
        return Opened()

    @creates
    @classmethod
    def on_opened(cls, event: Opened) -> Self:
        return cls()


BANK = App("bank", aggregates=[Account], partitions=2)
SETTINGS = Settings(_env_file=None, kafka=KafkaSettings(bootstrap_servers="kafka:9092"))  # type: ignore[call-arg]
COMMANDS, EVENTS, OUTCOMES = "bank.account.commands", "bank.account.events", "bank.account.outcomes"
META = "bank.meta"
BROKER = {
    "auto.create.topics.enable": "false",
    "offsets.retention.minutes": "525600",
    "transaction.max.timeout.ms": "900000",
    "group.min.session.timeout.ms": "6000",
    "group.max.session.timeout.ms": "1800000",
    "min.insync.replicas": "2",
    "unclean.leader.election.enable": "false",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
}
INTERNAL = TopicState(bytes(16), 50, 3, {"min.insync.replicas": "2", "unclean.leader.election.enable": "false"})


def sound(settings: Settings = SETTINGS, app: App = BANK, **changes: Any) -> Facts:
    """Three brokers on which nothing is wrong, but for `changes`."""
    specs = tuple(topic_specs(app, settings))
    states = {
        spec.name: TopicState(
            bytes([number]) * 16,
            spec.partitions,
            3,
            {
                "unclean.leader.election.enable": "false",
                **spec.config,
                "min.insync.replicas": "2",
                "max.message.bytes": "1048588",
            },
        )
        for number, spec in enumerate(specs)
    }
    owned = owned_topics(app, settings)
    partitions = owned[0].command_partitions()
    facts = Facts(
        settings=settings,
        production=True,
        specs=specs,
        owned=owned,
        brokers=answered((1, 2, 3)),
        broker_settings={broker: answered(BROKER) for broker in (1, 2, 3)},
        topics=answered(states),
        internal=answered({"__consumer_offsets": INTERNAL, "__transaction_state": INTERNAL}),
        recorded=answered(
            {name: TopicRecord(state.topic_id.hex(), state.partitions) for name, state in states.items()}
        ),
        firsts=answered(dict.fromkeys([*partitions, *owned[0].fact_partitions()], 0)),
        ends=answered(dict.fromkeys(partitions, 100)),
        committed=answered(dict.fromkeys(partitions, 90)),
        last_origins=answered(dict.fromkeys(partitions, 89)),
        hanging=answered(()),
        open_limit_seconds=25.0,
        strays=answered({}),
        clock=answered(ClockReading(1_000_000, 1_000_010, 1_000_005)),
        histories=answered(()),
        foreign=answered({}),
        unreadable=answered(()),
    )
    return replace(facts, **changes)


def with_topic(name: str, **changes: Any) -> Facts:
    """One topic changed; None takes it away, `config` is laid over its own."""
    facts = sound()
    states = dict(facts.topics.get())
    state = states[name]
    if "config" in changes:
        changes["config"] = {**state.config, **changes["config"]}
    states[name] = replace(state, **changes)
    return replace(facts, topics=answered(states))


def with_broker(settings: Mapping[str, str | None], **changes: Any) -> Facts:
    told = {name: value for name, value in {**BROKER, **settings}.items() if value is not None}
    return sound(broker_settings={1: answered(BROKER), 2: answered(told)}, **changes)


def with_settings(**changes: Any) -> Settings:
    return SETTINGS.model_copy(update=changes)


def without(name: str, *, recorded: bool) -> Facts:
    facts = sound()
    topics = {topic: state for topic, state in facts.topics.get().items() if topic != name}
    records = {topic: each for topic, each in facts.recorded.get().items() if recorded or topic != name}
    return replace(facts, topics=answered(topics), recorded=answered(records))


def hanging(**changes: Any) -> Facts:
    found = Hanging((EVENTS, 1), 107, 90.0, "bank.account.1.0", 4, 2)
    return sound(hanging=answered((replace(found, **changes),)))


ABORT = f"`kafka-transactions.sh --bootstrap-server kafka:9092 abort --topic {EVENTS} --partition 1 --start-offset 107`"


def history(**changes: Any) -> Facts:
    return sound(histories=answered((PartitionHistory("account", 1, 5, 2, 89, **changes),)))


def broken(facts: Facts) -> dict[str, list[Finding]]:
    return {rule.id: found for rule, found in judge(facts, RULES).findings.items() if found}


def test_on_a_sound_cluster_no_rule_is_broken() -> None:
    assert broken(sound()) == {}


def test_rules_have_names_of_their_own_in_kebab_case() -> None:
    names = [rule.id for rule in RULES]
    assert len(set(names)) == len(names)
    assert all(name.replace("-", "").isalpha() and name.islower() for name in names)


BREACHES: list[tuple[str, Severity, Callable[[], Facts], str, str]] = [
    # rule, severity, the facts, what the problem says, what the mend says
    (
        "topics-missing",
        DANGER,
        lambda: without(EVENTS, recorded=False),
        f"topics are missing: {EVENTS}",
        "eventsource topics apply",
    ),
    (
        "topics-unrecorded",
        DANGER,
        lambda: sound(recorded=answered({})),
        "are not recorded yet: bank.meta, bank.schemas",
        "eventsource topics apply",
    ),
    (
        "topic-gone",
        DANGER,
        lambda: without(OUTCOMES, recorded=True),
        f"{OUTCOMES} was made before and is gone",
        "restore it from a backup",
    ),
    (
        "partition-count",
        DANGER,
        lambda: sound(
            app=App("bank", aggregates=[Account], partitions=3), topics=sound().topics, recorded=sound().recorded
        ),
        f"each of {COMMANDS}, {EVENTS}, {OUTCOMES}, bank.account.dead-letters has 2 partitions, the app wants 3",
        "partitions=2",
    ),
    (
        "topic-recreated",
        DANGER,
        lambda: with_topic(EVENTS, topic_id=b"another topic id"),
        f"{EVENTS} was deleted and made anew",
        "restore it",
    ),
    (
        "events-retention",
        DANGER,
        lambda: with_topic(EVENTS, config={"retention.ms": "604800000"}),
        f"{EVENTS} has retention.ms=604800000, -1 is demanded",
        f"kafka-configs --bootstrap-server kafka:9092 --alter --entity-type topics --entity-name {EVENTS} --add-config retention.ms=-1",
    ),
    (
        "events-retention",
        DANGER,
        lambda: with_topic(OUTCOMES, config={"retention.bytes": "1000000"}),
        f"{OUTCOMES} has retention.bytes=1000000, -1 is demanded",
        "retention.bytes=-1",
    ),
    (
        "events-retention",
        DANGER,
        lambda: with_topic("bank.account.dead-letters", config={"retention.ms": "1"}),
        "bank.account.dead-letters has retention.ms=1",
        "retention.ms=-1",
    ),
    (
        "cleanup-policy",
        DANGER,
        lambda: with_topic(EVENTS, config={"cleanup.policy": "compact"}),
        "cleanup.policy=compact, delete is demanded",
        "cleanup.policy=delete",
    ),
    (
        "cleanup-policy",
        DANGER,
        lambda: with_topic(COMMANDS, config={"cleanup.policy": "compact,delete"}),
        f"{COMMANDS} has cleanup.policy=compact,delete",
        "cleanup.policy=delete",
    ),
    (
        "meta-compaction",
        DANGER,
        lambda: with_topic("bank.schemas", config={"cleanup.policy": "delete"}),
        "bank.schemas has cleanup.policy=delete, compact is demanded",
        "cleanup.policy=compact",
    ),
    (
        "timestamp-type",
        DANGER,
        lambda: with_topic(COMMANDS, config={"message.timestamp.type": "CreateTime"}),
        "message.timestamp.type=CreateTime, LogAppendTime is demanded",
        "message.timestamp.type=LogAppendTime",
    ),
    (
        "unclean-election",
        DANGER,
        lambda: with_topic(EVENTS, config={"unclean.leader.election.enable": "true"}),
        "unclean.leader.election.enable=true, false is demanded",
        "unclean.leader.election.enable=false",
    ),
    (
        "unclean-election",
        DANGER,
        lambda: with_topic("bank.schemas", config={"unclean.leader.election.enable": "true"}),
        "bank.schemas has unclean.leader.election.enable=true",
        "--entity-name bank.schemas --add-config unclean.leader.election.enable=false",
    ),
    (
        "commands-retention",
        WARNING,
        lambda: with_topic(COMMANDS, config={"retention.ms": "3600000"}),
        "keeps commands for 1 h, less than the deduplication window of 24 h",
        "retention.ms=86400000",
    ),
    (
        "commands-retention",
        WARNING,
        lambda: with_topic(COMMANDS, config={"retention.bytes": "1000"}),
        "retention.bytes=1000",
        "retention.bytes=-1",
    ),
    (
        "message-size",
        WARNING,
        lambda: with_topic(EVENTS, config={"max.message.bytes": "900999"}),
        "takes batches of 900999 bytes (max.message.bytes), but events may have 900000 bytes",
        "max.message.bytes=1000000",
    ),
    (
        "message-size",
        WARNING,
        lambda: sound(with_settings(worker=WorkerSettings(max_event_bytes=2_000_000))),
        "takes batches of 1048588 bytes",
        "max.message.bytes=2001000",
    ),
    (
        "message-size",
        WARNING,
        lambda: sound(with_settings(kafka=KafkaSettings(client={"message.max.bytes": "900999"}))),
        "producers send at most 900999 bytes",
        "EVENTSOURCE_KAFKA__CLIENT__MESSAGE_MAX_BYTES=901000",
    ),
    (
        "brokers-reachable",
        DANGER,
        lambda: sound(brokers=unanswered(BrokerUnavailable("no broker answers at kafka:9092: check that Kafka runs"))),
        "could not be checked whether the brokers answer",
        "check that Kafka runs",
    ),
    (
        "brokers-answer",
        DANGER,
        lambda: sound(
            broker_settings={1: answered(BROKER), 2: unanswered(LogError("refused: check the principal's ACLs"))}
        ),
        "broker 2 did not tell its settings",
        "check the principal's ACLs",
    ),
    (
        "replication-factor",
        DANGER,
        lambda: with_topic(EVENTS, replicas=2),
        f"{EVENTS}: 2 replicas each, 3 are demanded",
        "kafka-reassign-partitions",
    ),
    (
        "min-insync-replicas",
        DANGER,
        lambda: with_topic(EVENTS, config={"min.insync.replicas": "1"}),
        f"{EVENTS}: min.insync.replicas=1, 2 are demanded",
        f"for topic in {EVENTS}; do kafka-configs",
    ),
    (
        "internal-topics",
        DANGER,
        lambda: sound(
            internal=answered({"__consumer_offsets": replace(INTERNAL, replicas=1), "__transaction_state": INTERNAL})
        ),
        "__consumer_offsets has 1 replica where 3 are demanded",
        "kafka-reassign-partitions",
    ),
    (
        "internal-topics",
        DANGER,
        lambda: sound(
            internal=answered(
                {
                    "__consumer_offsets": INTERNAL,
                    "__transaction_state": replace(INTERNAL, config={**INTERNAL.config, "min.insync.replicas": "1"}),
                }
            )
        ),
        "__transaction_state has min.insync.replicas=1 where 2 are demanded",
        "--add-config min.insync.replicas=2",
    ),
    (
        "internal-topics",
        DANGER,
        lambda: sound(
            internal=answered(
                {
                    "__consumer_offsets": replace(INTERNAL, config={"min.insync.replicas": "2"}),
                    "__transaction_state": INTERNAL,
                }
            )
        ),
        "__consumer_offsets has unclean.leader.election.enable=true",
        "kafka-reassign-partitions",
    ),
    (
        "internal-topics",
        DANGER,
        lambda: with_broker(
            {"offsets.topic.replication.factor": "1"}, internal=answered({"__transaction_state": INTERNAL})
        ),
        "__consumer_offsets will be made with 1 replica",
        "offsets.topic.replication.factor=3",
    ),
    (
        "internal-topics",
        DANGER,
        lambda: with_broker(
            {"transaction.state.log.min.isr": "1"}, internal=answered({"__consumer_offsets": INTERNAL})
        ),
        "__transaction_state will be made with min.insync.replicas=1",
        "transaction.state.log.min.isr=2",
    ),
    (
        "auto-topic-creation",
        DANGER,
        lambda: with_broker({"auto.create.topics.enable": "true"}),
        "broker 2: auto.create.topics.enable=true",
        "auto.create.topics.enable=false",
    ),
    (
        "offsets-retention",
        WARNING,
        lambda: with_broker({"offsets.retention.minutes": "10080"}),
        "stopped for longer than 7 days lose their committed offsets",
        "offsets.retention.minutes=525600",
    ),
    (
        "transaction-timeout",
        DANGER,
        lambda: with_broker({"transaction.max.timeout.ms": "9999"}),
        "transaction.max.timeout.ms=9999, and workers ask for 10000",
        "EVENTSOURCE_KAFKA__TRANSACTION_TIMEOUT_SECONDS to 9.999 or less",
    ),
    (
        "session-timeout",
        DANGER,
        lambda: with_broker({"group.min.session.timeout.ms": "6001"}),
        "group.min.session.timeout.ms=6001, and workers ask for 6000",
        "EVENTSOURCE_KAFKA__SESSION_TIMEOUT_SECONDS=6.001",
    ),
    (
        "session-timeout",
        DANGER,
        lambda: with_broker({"group.max.session.timeout.ms": "5000"}),
        "group.max.session.timeout.ms=5000, and workers ask for 6000",
        "SESSION_TIMEOUT_SECONDS=5",
    ),
    (
        "session-timeout",
        DANGER,
        lambda: sound(
            with_settings(kafka=KafkaSettings(client={"session.timeout.ms": "45", "group.protocol": "classic"}))
        ),
        "workers ask for 45",
        "EVENTSOURCE_KAFKA__CLIENT__SESSION_TIMEOUT_MS=6000",
    ),
    (
        "events-deleted",
        DANGER,
        lambda: sound(firsts=answered({(EVENTS, 1): 7})),
        f"{EVENTS}[1] begins at offset 7",
        "restore the topic from a backup",
    ),
    (
        "events-deleted",
        DANGER,
        lambda: sound(firsts=answered({(OUTCOMES, 0): 1})),
        f"{OUTCOMES}[0] begins at offset 1",
        "restore the topic from a backup",
    ),
    (
        "commands-deleted",
        DANGER,
        lambda: sound(firsts=answered({(COMMANDS, 0): 91})),
        f"{COMMANDS}[0] begins at offset 91, and commands are handled up to 90: 1 offsets were deleted",
        f"--group bank.account.owners --reset-offsets --topic {COMMANDS}:0 --to-offset 91 --execute",
    ),
    (
        "commands-deleted",
        DANGER,
        lambda: sound(firsts=answered({(COMMANDS, 0): 5}), committed=answered({}), last_origins=answered({})),
        "handled up to 0: 5 offsets",
        "--to-offset 5",
    ),
    (
        "committed-offset-missing",
        DANGER,
        lambda: sound(committed=answered({(COMMANDS, 0): None, (COMMANDS, 1): 90})),
        f"no committed offset for {COMMANDS}[0], yet commands up to offset 89 were handled",
        f"kafka-consumer-groups --bootstrap-server kafka:9092 --group bank.account.owners --reset-offsets --topic {COMMANDS}:0 "
        "--to-offset 90 --execute",
    ),
    (
        "committed-offset-behind",
        DANGER,
        lambda: sound(last_origins=answered({(COMMANDS, 1): 90 + MAX_TRANSACTION_COMMANDS}), ends=answered({})),
        f"committed offset 90 of {COMMANDS}[1], which lies below {90 + MAX_TRANSACTION_COMMANDS}",
        f"--to-offset {91 + MAX_TRANSACTION_COMMANDS}",
    ),
    (
        "committed-offset-past-end",
        DANGER,
        lambda: sound(ends=answered({(COMMANDS, 1): 89})),
        f"committed offset 90 of {COMMANDS}[1], which ends at 89",
        "--to-offset 89",
    ),
    (
        "stray-offsets",
        WARNING,
        lambda: sound(strays=answered({"bank.account.owners": (("other", 0), ("other", 1))})),
        "group bank.account.owners has committed offsets for other",
        "--group bank.account.owners --delete-offsets --topic other`",
    ),
    (
        "hanging-transaction",
        DANGER,
        lambda: hanging(decision=Decision.NONE),
        f"{EVENTS}[1] has a transaction that has been open for more than 25 s, 90 s by now (transactional id bank.account.1.0, "
        "producer id 4, epoch 2): nobody reads past offset 107, and no owner can take the partition over; nothing was decided about it",
        f"start a worker, which ends it; if it stays, {ABORT}",
    ),
    (
        "hanging-transaction",
        DANGER,
        lambda: hanging(decision=Decision.COMMIT, completed=True),
        "it was decided as a commit, so its commands were answered OK, and its markers were never written (KAFKA-20734)",
        f"sees them from offset 107 on), since aborting it loses them; then {ABORT}, and give the events back",
    ),
    (
        "hanging-transaction",
        DANGER,
        lambda: hanging(where=("__consumer_offsets", 3), decision=Decision.COMMIT, completed=True),
        "__consumer_offsets[3] has a transaction",
        "abort --topic __consumer_offsets --partition 3 --start-offset 107`; owners find out from events",
    ),
    (
        "hanging-transaction",
        DANGER,
        lambda: hanging(decision=Decision.ABORT),
        "it was decided as an abort, so that nothing of it was answered OK",
        f"{ABORT} writes the marker",
    ),
    (
        "hanging-transaction",
        DANGER,
        lambda: hanging(transactional_id=None, unknown_because="no right to read"),
        "90 s by now: nobody reads past offset 107, and no owner can take the partition over; what was decided about it is not known "
        "(no right to read)",
        f"if docs/doctor.md shows that it was a commit, copy its records first (a reader of uncommitted records sees them from offset "
        f"107 on), since aborting it loses them; then {ABORT}",
    ),
    (
        "answered-unseen",
        DANGER,
        lambda: history(unseen=(("pay-1", 7), ("pay-2", 8), ("pay-3", 9), ("pay-4", 10))),
        "4 commands of account[1] were answered OK, and no reader of committed records sees the events that the answers name: "
        "pay-1 (offset 7), pay-2 (offset 8), pay-3 (offset 9) and 1 more",
        "give the events back with `client.append`",
    ),
    (
        "clock-skew",
        WARNING,
        lambda: sound(clock=answered(ClockReading(60_000, 60_005, 0))),
        "clock is 60 s ahead of the brokers'",
        "NTP",
    ),
    (
        "clock-skew",
        DANGER,
        lambda: sound(clock=answered(ClockReading(0, 10, 3_600_010))),
        "clock is 3600 s behind the brokers'",
        "NTP",
    ),
    (
        "unreadable-history",
        DANGER,
        lambda: sound(
            unreadable=answered((Unreadable("account", "opened", "0123456789abcdef", "opened.by: give it a default"),))
        ),
        "event 'opened' of account, as written with schema 0123456789abcdef: opened.by: give it a default",
        "--accept-risk unreadable-history",
    ),
    (
        "unreadable-history",
        WARNING,
        lambda: sound(
            unreadable=answered((Unreadable("account", "opened", "0123456789abcdef", "keep the class", missing=True),))
        ),
        "event 'opened' of account, as written with schema 0123456789abcdef: keep the class",
        "--accept-risk unreadable-history",
    ),
    (
        "foreign-entry",
        WARNING,
        lambda: sound(foreign=answered({META: ForeignRecords(3, [(f"{META}[0]@7", "the value is no JSON")])})),
        f"{META}[0]@7 is not the framework's (the value is no JSON), and so are 2 others: it was skipped",
        "topics apply",
    ),
    (
        "foreign-record",
        DANGER,
        lambda: history(foreign=((f"{EVENTS}[1]@3", "no complete header es"),)),
        f"{EVENTS}[1]@3 is not the framework's (no complete header es)",
        "find out who wrote it",
    ),
    (
        "misrouted-event",
        DANGER,
        lambda: history(misrouted=((f"{EVENTS}[1]@3", "an event of account 'a', which belongs to partition 0"),)),
        f"{EVENTS}[1]@3: an event of account 'a', which belongs to partition 0",
        "murmur2",
    ),
    (
        "stopped-aggregate",
        DANGER,
        lambda: history(stopped={"a": "account 'a' is stopped: its log has a gap"}),
        "account 'a' is stopped: its log has a gap",
        "eventsource events show MODULE:APP account a",
    ),
]


@pytest.mark.parametrize(
    ("rule", "severity", "facts", "problem", "mend"),
    BREACHES,
    ids=[f"{breach[0]}-{i}" for i, breach in enumerate(BREACHES)],
)
def test_what_breaks_a_rule_is_told_with_its_figures_and_mend(
    rule: str, severity: Severity, facts: Callable[[], Facts], problem: str, mend: str
) -> None:
    found = broken(facts())
    assert list(found) == [rule]
    assert {finding.severity for finding in found[rule]} == {severity}
    assert problem in found[rule][0].problem
    assert mend in found[rule][0].mend


def test_every_rule_is_broken_above() -> None:
    """But for `topic-setting`, which waits for a setting that the framework will demand one day."""
    assert {rule.id for rule in RULES} - {breach[0] for breach in BREACHES} == {"topic-setting"}


def test_a_demanded_setting_that_no_rule_is_named_for_is_not_overlooked() -> None:
    facts = sound()
    specs = [
        replace(spec, demanded={**spec.demanded, "flush.ms": "1"}) if spec.name == EVENTS else spec
        for spec in facts.specs
    ]
    found = broken(replace(facts, specs=tuple(specs)))
    assert list(found) == ["topic-setting"]
    assert "has flush.ms=None, 1 is demanded" in found["topic-setting"][0].problem


def test_partitions_that_were_added_are_told_though_the_app_wants_them() -> None:
    facts = sound(app=App("bank", aggregates=[Account], partitions=3))
    records = {
        name: TopicRecord(each.topic_id, 2) if name == EVENTS else each for name, each in facts.recorded.get().items()
    }
    found = broken(replace(facts, recorded=answered(records)))
    assert list(found) == ["partition-count"]
    assert f"{EVENTS} has 3 partitions, 2 were recorded" in found["partition-count"][0].problem


# --- figures that are within bounds ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "facts",
    [
        lambda: sound(firsts=answered({(COMMANDS, 0): 90})),
        lambda: sound(committed=answered({}), last_origins=answered({(COMMANDS, 0): -1})),
        lambda: sound(last_origins=answered({(COMMANDS, 1): 89 + MAX_TRANSACTION_COMMANDS})),
        lambda: sound(ends=answered({(COMMANDS, 1): 90})),
        lambda: with_broker({"transaction.max.timeout.ms": "10000", "offsets.retention.minutes": "43200"}),
        lambda: with_broker({"group.min.session.timeout.ms": "6000", "group.max.session.timeout.ms": "6000"}),
        lambda: with_topic(COMMANDS, config={"retention.ms": "86400000"}),
        lambda: with_topic(COMMANDS, config={"retention.ms": "-1"}),
        lambda: with_topic(COMMANDS, config={"max.message.bytes": "1"}),
        lambda: with_topic(EVENTS, config={"max.message.bytes": "1000000"}),
        lambda: with_topic(
            "bank.replies", replicas=1, config={"min.insync.replicas": "1", "unclean.leader.election.enable": "true"}
        ),
        lambda: sound(clock=answered(ClockReading(0, 600_000, 300_000))),
        lambda: sound(clock=answered(ClockReading(59_999, 60_000, 0))),
        lambda: sound(clock=answered(None)),
        lambda: sound(internal=answered({})),
    ],
)
def test_figures_within_bounds_break_no_rule(facts: Callable[[], Facts]) -> None:
    assert broken(facts()) == {}


def test_a_short_retention_of_commands_is_measured_by_the_window_of_its_aggregate() -> None:
    two_hours = with_settings(worker=WorkerSettings(deduplication_window_hours=2))
    facts = sound(two_hours)
    topics = dict(facts.topics.get())
    topics[COMMANDS] = replace(topics[COMMANDS], config={**topics[COMMANDS].config, "retention.ms": "7200000"})
    assert broken(replace(facts, topics=answered(topics))) == {}


def test_the_brokers_decide_about_sessions_in_the_newer_group_protocol() -> None:
    settings = with_settings(kafka=KafkaSettings(client={"group.protocol": "consumer"}, session_timeout_seconds=1))
    assert broken(sound(settings)) == {}


# --- production and development ----------------------------------------------------------------------------------


def test_what_one_broker_cannot_have_is_a_warning_in_development() -> None:
    facts = sound(
        production=False,
        broker_settings={1: answered({**BROKER, "auto.create.topics.enable": "true"})},
        internal=answered({"__consumer_offsets": replace(INTERNAL, replicas=1), "__transaction_state": INTERNAL}),
    )
    topics = {
        name: replace(state, replicas=1, config={**state.config, "min.insync.replicas": "1"})
        for name, state in facts.topics.get().items()
    }
    found = broken(replace(facts, topics=answered(topics)))
    assert set(found) == {"replication-factor", "min-insync-replicas", "internal-topics", "auto-topic-creation"}
    assert {finding.severity for each in found.values() for finding in each} == {WARNING}
    assert "nothing to mend" in found["replication-factor"][0].mend


def test_deleted_events_endanger_data_in_development_too() -> None:
    found = broken(sound(production=False, firsts=answered({(EVENTS, 1): 7})))
    assert found["events-deleted"][0].severity is DANGER


# --- what could not be asked -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "rules"),
    [
        ("recorded", {"topics-missing", "topics-unrecorded", "topic-gone", "partition-count", "topic-recreated"}),
        ("internal", {"internal-topics"}),
        ("firsts", {"events-deleted", "commands-deleted"}),
        (
            "committed",
            {"commands-deleted", "committed-offset-missing", "committed-offset-behind", "committed-offset-past-end"},
        ),
        ("ends", {"committed-offset-past-end"}),
        ("last_origins", {"committed-offset-missing", "committed-offset-behind"}),
        ("hanging", {"hanging-transaction"}),
        ("strays", {"stray-offsets"}),
        ("clock", {"clock-skew"}),
        ("histories", {"answered-unseen", "foreign-record", "misrouted-event", "stopped-aggregate"}),
    ],
)
def test_a_question_that_is_refused_breaks_every_rule_that_asks_it(question: str, rules: set[str]) -> None:
    found = broken(sound(**{question: unanswered(LogError("refused: check the principal's ACLs"))}))
    assert set(found) == rules
    for finding in (finding for each in found.values() for finding in each):
        assert not finding.checked
        assert finding.problem.startswith("it could not be checked whether ")
        assert finding.mend == "refused: check the principal's ACLs"


def test_topics_that_cannot_be_described_leave_no_rule_about_them_sound() -> None:
    found = broken(sound(topics=unanswered(LogError("refused"))))
    assert set(found) >= {
        rule.id for rule in RULES if rule.id.startswith(("topic", "events-ret", "meta", "cleanup", "unclean"))
    }
    assert "replication-factor" in found


def test_one_broker_that_does_not_answer_hides_nothing_of_the_others() -> None:
    silent = unanswered(BrokerUnavailable("broker 2 is away"))
    found = broken(sound(broker_settings={1: answered({**BROKER, "auto.create.topics.enable": "true"}), 2: silent}))
    assert set(found) == {"brokers-answer", "auto-topic-creation"}
    assert "broker 1: " in found["auto-topic-creation"][0].problem


def test_brokers_that_all_keep_silent_leave_their_settings_unchecked() -> None:
    found = broken(sound(broker_settings={1: unanswered(BrokerUnavailable("broker 1 is away"))}))
    assert set(found) == {
        "brokers-answer",
        "auto-topic-creation",
        "offsets-retention",
        "transaction-timeout",
        "session-timeout",
    }


def test_a_setting_that_a_broker_does_not_tell_could_not_be_checked() -> None:
    found = broken(with_broker({"auto.create.topics.enable": None}))
    assert list(found) == ["auto-topic-creation"]
    assert "broker 2 does not tell its auto.create.topics.enable" in found["auto-topic-creation"][0].mend
