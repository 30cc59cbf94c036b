"""What a worker refuses to start on, what it lets pass, and what the command `doctor` makes of a diagnosis."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from eventsource.app import App
from eventsource.cli.doctor import as_json, exit_code
from eventsource.doctor import RULES, START_RULES, Diagnosis, Facts, Finding, Rule, Severity, check_accepted, judge
from eventsource.doctor.answer import answered, unanswered
from eventsource.doctor.facts import PartitionHistory
from eventsource.doctor.rule import Depth
from eventsource.doctor.start import refuse_dangers
from eventsource.errors import (
    BrokerUnavailable,
    ClusterMismatch,
    EventSourceError,
    ForkDetected,
    LogError,
    OffsetLost,
    SettingsError,
    TopicMissing,
)
from eventsource.log.topics import TopicRecord, TopicState, topic_specs
from eventsource.settings import Settings

EMPTY = App("empty", aggregates=[])
SETTINGS = Settings(_env_file=None)  # type: ignore[call-arg]
BROKER = {
    "auto.create.topics.enable": "false",
    "offsets.retention.minutes": "525600",
    "transaction.max.timeout.ms": "900000",
    "group.min.session.timeout.ms": "6000",
    "group.max.session.timeout.ms": "1800000",
}
INTERNAL = TopicState(bytes(16), 50, 3, {"min.insync.replicas": "2", "unclean.leader.election.enable": "false"})


def sound(**changes: Any) -> Facts:
    """An app without aggregates, on a cluster where nothing is wrong."""
    specs = tuple(topic_specs(EMPTY, SETTINGS))
    states = {
        spec.name: TopicState(bytes(16), spec.partitions, 3, {**spec.config, "min.insync.replicas": "2"})
        for spec in specs
    }
    facts = Facts(
        SETTINGS,
        True,
        specs,
        (),
        answered((1,)),
        {1: answered(BROKER)},
        topics=answered(states),
        internal=answered({"__consumer_offsets": INTERNAL, "__transaction_state": INTERNAL}),
        recorded=answered({name: TopicRecord(bytes(16).hex(), each.partitions) for name, each in states.items()}),
        unreadable=answered(()),
        firsts=answered({}),
        ends=answered({}),
        committed=answered({}),
    )
    return replace(facts, **changes)


AUTO_CREATING = {1: answered({**BROKER, "auto.create.topics.enable": "true"})}


def refused(facts: Facts, *accepted: str, for_owners: bool = True) -> EventSourceError:
    with pytest.raises(EventSourceError) as caught:
        refuse_dangers(facts, check_accepted(accepted), for_owners=for_owners)
    return caught.value


def test_a_sound_log_lets_a_worker_start() -> None:
    refuse_dangers(sound(), frozenset(), for_owners=True)


def test_one_danger_is_one_sentence_with_its_rule_and_mend() -> None:
    error = refused(sound(broker_settings=AUTO_CREATING))
    assert type(error) is ClusterMismatch
    text = str(error)
    assert text.startswith("broker 1: auto.create.topics.enable=true: ")
    assert text.endswith("restart them one by one (rule auto-topic-creation)")
    assert "\n" not in text


def test_several_dangers_are_listed_and_the_worst_decides_the_error() -> None:
    error = refused(sound(broker_settings=AUTO_CREATING, topics=answered({}), recorded=answered({})))
    assert type(error) is ClusterMismatch
    lines = str(error).splitlines()
    assert lines[0] == "2 findings endanger the log; `--accept-risk RULE` starts in spite of one:"
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["auto-topic-creation", "topics-missing"]


def test_an_accepted_risk_lets_a_worker_start_and_is_logged_with_its_finding() -> None:
    with capture_logs() as logs:
        refuse_dangers(sound(broker_settings=AUTO_CREATING), check_accepted(["auto-topic-creation"]), for_owners=True)
    (line,) = logs
    assert (line["event"], line["log_level"], line["rule"]) == ("risk_accepted", "warning", "auto-topic-creation")
    assert "auto.create.topics.enable=true" in line["finding"]
    assert "server.properties" in line["mend"]


def test_a_risk_that_is_not_there_is_not_logged() -> None:
    with capture_logs() as logs:
        refuse_dangers(sound(), check_accepted(["auto-topic-creation"]), for_owners=True)
    assert logs == []


def test_accepting_one_risk_lets_no_other_pass() -> None:
    facts = sound(broker_settings=AUTO_CREATING, topics=answered({}), recorded=answered({}))
    assert type(refused(facts, "auto-topic-creation")) is TopicMissing


@pytest.mark.parametrize("name", ["events-retension", "stopped-aggregate", ""])
def test_a_rule_that_is_not_checked_at_a_start_cannot_be_accepted(name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        check_accepted(["events-retention", name])
    assert f"--accept-risk {name}: no rule of that name" in str(caught.value)
    assert all(rule.id in str(caught.value) for rule in START_RULES)


def test_a_worker_that_handles_no_commands_is_not_kept_by_what_concerns_owners_alone() -> None:
    refuse_dangers(sound(broker_settings=AUTO_CREATING), frozenset(), for_owners=False)
    assert type(refused(sound(topics=answered({}), recorded=answered({})), for_owners=False)) is TopicMissing


def test_a_question_that_is_refused_keeps_a_worker_from_starting() -> None:
    facts = sound(internal=unanswered(LogError("describing __consumer_offsets: refused: check the principal's ACLs")))
    error = refused(facts)
    assert type(error) is ClusterMismatch
    assert "could not be checked" in str(error)
    assert "check the principal's ACLs" in str(error)
    refuse_dangers(facts, frozenset({"internal-topics"}), for_owners=True)


def test_a_question_that_is_not_answered_just_now_may_be_asked_again() -> None:
    for question in ("firsts", "internal"):
        error = refused(sound(**{question: unanswered(BrokerUnavailable("no answer: try again"))}))
        assert isinstance(error, BrokerUnavailable)


def test_warnings_keep_no_worker_from_starting() -> None:
    short = {1: answered({**BROKER, "offsets.retention.minutes": "1"})}
    refuse_dangers(sound(broker_settings=short), frozenset(), for_owners=True)


# --- the command -------------------------------------------------------------------------------------------------


def diagnosis(found: Iterable[tuple[type[EventSourceError], Severity]]) -> Diagnosis:
    findings: dict[Rule, list[Finding]] = {
        Rule(f"rule-{number}", severity, "it holds", raises, lambda _: ()): [
            Finding(f"rule-{number}", severity, "", "a", "b", raises)
        ]
        for number, (raises, severity) in enumerate(found)
    }
    return Diagnosis(sound(), findings)


@pytest.mark.parametrize(
    ("raises", "code"),
    [
        ([], 0),
        ([BrokerUnavailable], 3),
        ([TopicMissing], 4),
        ([ClusterMismatch, BrokerUnavailable], 4),
        ([OffsetLost], 5),
        ([ClusterMismatch, ForkDetected, BrokerUnavailable], 5),
    ],
)
def test_the_worst_danger_decides_the_exit_code(raises: list[type[EventSourceError]], code: int) -> None:
    assert exit_code(diagnosis((each, Severity.DANGER) for each in raises)) == code


def test_warnings_alone_exit_with_0() -> None:
    assert exit_code(diagnosis([(OffsetLost, Severity.WARNING)])) == 0


def test_every_rule_ends_the_command_with_a_code_that_asks_for_a_mend() -> None:
    for rule in RULES:
        assert exit_code(diagnosis([(rule.raises, Severity.DANGER)])) in (2, 3, 4, 5), rule.id


def test_json_names_every_rule_with_its_findings() -> None:
    facts = sound(broker_settings=AUTO_CREATING, histories=answered((PartitionHistory("account", 0, 7, 3, 9),)))
    checked = [rule for rule in RULES if rule.depth is Depth.START]
    skipped = [rule for rule in RULES if rule.depth is not Depth.START]
    document = json.loads(json.dumps(as_json(EMPTY, judge(facts, checked, skipped=skipped))))
    assert {each["rule"] for each in document["rules"]} == {rule.id for rule in RULES}
    assert (document["ok"], document["dangers"], document["production"]) == (False, 1, True)
    assert (document["topics"], document["events"], document["outcomes"]) == (3, 7, 3)
    by_id = {each["rule"]: each for each in document["rules"]}
    assert by_id["stray-offsets"]["result"] == "skipped"
    assert by_id["topic-gone"] == {
        "rule": "topic-gone",
        "severity": "danger",
        "demands": "no topic that was recorded is gone",
        "result": "ok",
        "findings": [],
    }
    (finding,) = by_id["auto-topic-creation"]["findings"]
    assert (finding["severity"], finding["subject"], finding["checked"]) == ("danger", "broker 1", True)
    assert finding["problem"]
    assert finding["mend"]
