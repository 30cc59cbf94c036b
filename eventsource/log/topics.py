"""The topics of an app: what they must be, what they are, and making them.

What was made is recorded in a compacted topic of the app (`….meta`): partition counts and topic ids. Both are checked at
every start, because both fail silently: another partition count gives an aggregate a second owner, and a topic made anew
makes old positions mean other records.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import NewTopic

from eventsource.app import App
from eventsource.errors import BrokerUnavailable, TopicMismatch
from eventsource.log.admin import LogAdmin
from eventsource.log.client_config import producer_config
from eventsource.log.kafka_clients import KafkaProducer
from eventsource.log.kafka_errors import translate
from eventsource.log.meta_topic import TopicRecord, read_meta
from eventsource.settings import Settings

REPLY_PARTITIONS: Final = 8
_HOUR_MS: Final = 3_600_000
_FOREVER: Final = "-1"
_STATE: Final = {"cleanup.policy": "delete", "retention.ms": _FOREVER, "retention.bytes": _FOREVER}
_COMPACTED: Final = {"cleanup.policy": "compact"}
_SHORT: Final = {"cleanup.policy": "delete", "retention.ms": str(_HOUR_MS)}
_ALWAYS: Final = {"message.timestamp.type": "LogAppendTime", "unclean.leader.election.enable": "false"}

Action = Literal["none", "create", "record", "conflict"]


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """What a topic must be. `demanded` are the settings that are checked at every start; `config` those it is made with."""

    name: str
    partitions: int
    demanded: Mapping[str, str]
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TopicChange:
    """What `apply` will do, or has done, about a topic.

    `create` makes it, `record` writes down a topic that somebody else made as demanded, `conflict` is for a person to mend.
    """

    topic: str
    action: Action
    detail: str
    partitions: int
    config: Mapping[str, str]


def topic_specs(app: App, settings: Settings) -> list[TopicSpec]:
    """What an app's topics must be, in the order in which they are made."""
    names = app.names(settings.namespace)
    always = dict(_ALWAYS)
    specs = [
        TopicSpec(names.meta, 1, _COMPACTED, {**_COMPACTED, **always}),
        TopicSpec(names.schemas, 1, _COMPACTED, {**_COMPACTED, **always}),
        TopicSpec(names.replies, REPLY_PARTITIONS, {}, {**_SHORT, **always}),
    ]
    for name, aggregate in app.aggregates.items():
        partitions = app.partitions_of(aggregate)
        # Commands carry the time of their events, so theirs must be the broker's; they may be deleted once handled.
        week = {"cleanup.policy": "delete", "retention.ms": str(7 * 24 * _HOUR_MS)}
        specs += [
            TopicSpec(names.commands(name), partitions, {"cleanup.policy": "delete", **always}, {**week, **always}),
            TopicSpec(names.events(name), partitions, {**_STATE, **always}, {**_STATE, **always}),
            TopicSpec(names.outcomes(name), partitions, {**_STATE, **always}, {**_STATE, **always}),
            TopicSpec(names.dead_letters(name), partitions, {**_STATE, **always}, {**_STATE, **always}),
        ]
    return specs


def plan(app: App, settings: Settings) -> list[TopicChange]:
    """What `apply` would do. Raises `BrokerUnavailable`."""
    with _admin(settings) as admin:
        return _plan(app, settings, admin)


def _plan(app: App, settings: Settings, admin: LogAdmin) -> list[TopicChange]:
    specs = topic_specs(app, settings)
    states = read_topic_states(admin, [spec.name for spec in specs])
    recorded = read_topic_records(app, settings, admin)
    return [
        _change(spec, states.get(spec.name), recorded.get(spec.name), settings.kafka.bootstrap_servers)
        for spec in specs
    ]


def _change(
    spec: TopicSpec, state: TopicState | None, recorded: TopicRecord | None, bootstrap_servers: str
) -> TopicChange:
    problems = topic_problems(spec, state, recorded, bootstrap_servers)
    action: Action
    if problems:
        action, detail = "conflict", f"{problems[0].problem}: {problems[0].mend}"
    elif state is None:
        action, detail = "create", f"{spec.partitions} partitions"
    elif recorded is None:
        action, detail = "record", "exists as demanded, to be recorded"
    else:
        action, detail = "none", "as recorded"
    return TopicChange(spec.name, action, detail, spec.partitions, spec.config)


def apply(app: App, settings: Settings) -> list[TopicChange]:
    """Makes the topics that are missing and records what they are; alters none. Returns what was done.

    Raises `TopicMismatch` before anything is made when a topic is there but not as demanded, and `BrokerUnavailable`.
    """
    with _admin(settings) as admin:
        return _apply(app, settings, admin)


def _apply(app: App, settings: Settings, admin: LogAdmin) -> list[TopicChange]:
    changes = _plan(app, settings, admin)
    _refuse_conflicts(changes)
    replicas = settings.kafka.replication_factor or min(3, admin.broker_count())
    extra = {"min.insync.replicas": "2"} if replicas >= 3 else {}
    admin.create_topics(
        [
            NewTopic(change.topic, change.partitions, replicas, config={**change.config, **extra})
            for change in changes
            if change.action == "create"
        ]
    )
    made = [change for change in changes if change.action in ("create", "record")]
    if made:
        _record(app, settings, admin, [change.topic for change in made])
    return changes


def _refuse_conflicts(changes: list[TopicChange]) -> None:
    conflicts = [f"{change.topic}: {change.detail}" for change in changes if change.action == "conflict"]
    if conflicts:
        raise TopicMismatch("; ".join(conflicts))


def _admin(settings: Settings) -> LogAdmin:
    return LogAdmin(settings.kafka.client_config(), request_timeout_seconds=settings.kafka.request_timeout_seconds)


@dataclass(frozen=True, slots=True)
class TopicState:
    """What a topic is. `replicas` are those of its partition that has the fewest."""

    topic_id: bytes
    partitions: int
    replicas: int
    config: Mapping[str, str]


TopicProblemKind = Literal["gone", "partitions", "recreated", "setting"]


@dataclass(frozen=True, slots=True)
class TopicProblem:
    """Why a topic is not as demanded: what is wrong, and the mend. `setting` names the one that differs."""

    kind: TopicProblemKind
    problem: str
    mend: str
    setting: str = ""


def topic_problems(
    spec: TopicSpec, state: TopicState | None, recorded: TopicRecord | None, bootstrap_servers: str
) -> list[TopicProblem]:
    """All that is wrong with a topic, the worst first. `state` is None where there is none, `recorded` where nothing was."""
    if state is None:
        return [] if recorded is None else [_GONE]
    problems = []
    if state.partitions != spec.partitions:
        problems.append(
            TopicProblem(
                "partitions",
                f"has {state.partitions} partitions, the app wants {spec.partitions}",
                "the count can never change, since it decides which partition an aggregate belongs to: give the app "
                f"partitions={state.partitions if recorded is None else recorded.partitions}, or use another namespace",
            )
        )
    if recorded is not None and recorded.partitions != state.partitions:
        problems.append(
            TopicProblem(
                "partitions",
                f"has {state.partitions} partitions, {recorded.partitions} were recorded when it was made",
                "no partition can be taken away again and aggregates stay in those they had, so nobody may write here: begin in another "
                "namespace, and copy into it what is to be kept",
            )
        )
    if recorded is not None and recorded.topic_id != state.topic_id.hex():
        problems.append(_RECREATED)
    problems += [
        TopicProblem(
            "setting",
            f"has {setting}={state.config.get(setting)}, {wanted} is demanded",
            f"mend it with `{alter_topic_command(bootstrap_servers, spec.name, setting, wanted)}`",
            setting,
        )
        for setting, wanted in spec.demanded.items()
        if state.config.get(setting) != wanted
    ]
    return problems


_GONE: Final = TopicProblem(
    "gone",
    "was made before and is gone, with all it held",
    "restore it from a backup; only if its loss is accepted, delete the app's other topics too and begin again",
)
_RECREATED: Final = TopicProblem(
    "recreated",
    "was deleted and made anew since it was recorded, so old positions mean other records",
    "restore it, or begin again with all the app's topics and read models deleted",
)


def alter_topic_command(bootstrap_servers: str, topic: str, setting: str, value: str) -> str:
    """The command that sets one setting of a topic."""
    return (
        f"kafka-configs --bootstrap-server {bootstrap_servers} --alter --entity-type topics --entity-name {topic} "
        f"--add-config {setting}={value}"
    )


def read_topic_states(admin: LogAdmin, names: Iterable[str]) -> dict[str, TopicState]:
    """What those of the named topics are that exist. Raises `LogError`s, `BrokerUnavailable` above all."""
    descriptions = admin.descriptions(names)
    configs = admin.topic_configs(descriptions)
    return {
        name: TopicState(found.topic_id, len(found.replicas), min(found.replicas, default=0), configs.get(name, {}))
        for name, found in descriptions.items()
    }


def read_topic_records(app: App, settings: Settings, admin: LogAdmin) -> dict[str, TopicRecord]:
    """What was recorded of the app's topics, from its meta topic; nothing where that is not there.

    What is not the framework's is passed over. Raises `BrokerUnavailable`.
    """
    return read_meta(app.names(settings.namespace).meta, settings, admin)[0]


def _record(app: App, settings: Settings, admin: LogAdmin, topics: list[str]) -> None:
    meta = app.names(settings.namespace).meta
    failures: list[KafkaError] = []
    doing = f"recording topics in {meta}"
    producer = KafkaProducer(producer_config(settings.kafka.client_config()))
    for topic, found in admin.wait_until_described(set(topics)).items():
        value = json.dumps({"partitions": len(found.replicas), "topic_id": found.topic_id.hex()})
        producer.produce(
            meta,
            key=topic.encode(),
            value=value.encode(),
            partition=0,
            on_delivery=lambda error, _: failures.append(error) if error is not None else None,
        )
    try:
        waiting = producer.flush(settings.kafka.request_timeout_seconds)
    except KafkaException as error:
        raise translate(error.args[0], doing, settings.kafka.bootstrap_servers) from error
    if failures:
        raise translate(failures[0], doing, settings.kafka.bootstrap_servers)
    if waiting:
        raise BrokerUnavailable(f"topic {meta} took no record: no answer: try `eventsource topics apply` again")
