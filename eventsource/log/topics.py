"""The topics of an app: what they must be, what they are, and making them.

What was made is recorded in a compacted topic of the app (`….meta`): partition counts and topic ids. Both are checked at
every start, because both fail silently: another partition count gives an aggregate a second owner, and a topic made anew
makes old positions mean other records.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import NewTopic

from eventsource.app import App
from eventsource.errors import BrokerUnavailable, TopicMismatch, TopicMissing
from eventsource.log.admin import LogAdmin
from eventsource.log.client_config import producer_config
from eventsource.log.reader import LogReader
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
        ]
    return specs


def plan(app: App, settings: Settings) -> list[TopicChange]:
    """What `apply` would do. Raises `BrokerUnavailable`."""
    specs = topic_specs(app, settings)
    admin = _admin(settings)
    state = _TopicState.read(app, settings, admin, specs)
    return [state.change(spec) for spec in specs]


def apply(app: App, settings: Settings) -> list[TopicChange]:
    """Makes the topics that are missing and records what they are; alters none. Returns what was done.

    Raises `TopicMismatch` before anything is made when a topic is there but not as demanded, and `BrokerUnavailable`.
    """
    changes = plan(app, settings)
    _refuse_conflicts(changes)
    admin = _admin(settings)
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


def check_topics(app: App, settings: Settings) -> None:
    """Raises `TopicMissing` or `TopicMismatch`, naming every topic that is not as demanded and recorded, with the mend."""
    changes = plan(app, settings)
    _refuse_conflicts(changes)
    missing = [change.topic for change in changes if change.action == "create"]
    if missing:
        raise TopicMissing(
            f"topics are missing: {', '.join(missing)}: make them with `eventsource topics apply MODULE:APP`"
        )
    unrecorded = [change.topic for change in changes if change.action == "record"]
    if unrecorded:
        raise TopicMissing(
            f"topics were made elsewhere and are not recorded yet: {', '.join(unrecorded)}: "
            "record them with `eventsource topics apply MODULE:APP`"
        )


def _refuse_conflicts(changes: list[TopicChange]) -> None:
    conflicts = [f"{change.topic}: {change.detail}" for change in changes if change.action == "conflict"]
    if conflicts:
        raise TopicMismatch("; ".join(conflicts))


def _admin(settings: Settings) -> LogAdmin:
    return LogAdmin(settings.kafka.client_config(), request_timeout_seconds=settings.kafka.request_timeout_seconds)


@dataclass(frozen=True, slots=True)
class _TopicState:
    """What is there: partition counts, topic ids, configurations, and what was recorded of them."""

    partitions: Mapping[str, int]
    topic_ids: Mapping[str, bytes]
    configs: Mapping[str, Mapping[str, str]]
    recorded: Mapping[str, Mapping[str, Any]]

    @classmethod
    def read(cls, app: App, settings: Settings, admin: LogAdmin, specs: list[TopicSpec]) -> _TopicState:
        there = admin.topic_names() & {spec.name for spec in specs}
        meta = app.names(settings.namespace).meta
        return cls(
            partitions=admin.partition_counts(there),
            topic_ids=admin.topic_ids(there),
            configs=admin.topic_configs(there),
            recorded=_read_recorded(meta, settings, admin) if meta in there else {},
        )

    def change(self, spec: TopicSpec) -> TopicChange:
        problem = self._problem(spec)
        if problem is not None:
            return self._as(spec, "conflict", problem)
        if spec.name not in self.partitions:
            return self._as(spec, "create", f"{spec.partitions} partitions")
        if spec.name not in self.recorded:
            return self._as(spec, "record", "exists as demanded, to be recorded")
        return self._as(spec, "none", "as recorded")

    def _as(self, spec: TopicSpec, action: Action, detail: str) -> TopicChange:
        return TopicChange(spec.name, action, detail, spec.partitions, spec.config)

    def _problem(self, spec: TopicSpec) -> str | None:
        recorded = self.recorded.get(spec.name)
        if spec.name not in self.partitions:
            if recorded is None:
                return None
            return (
                "was made before and is gone, with all it held: restore it from a backup; only if its loss is accepted, "
                "delete the app's other topics too and begin again"
            )
        found = self.partitions[spec.name]
        if found != spec.partitions:
            return (
                f"has {found} partitions, the app wants {spec.partitions}: the count can never change, since it decides which "
                f"partition an aggregate belongs to: give the app partitions={found}, or use another namespace"
            )
        if recorded is not None and recorded["topic_id"] != self.topic_ids[spec.name].hex():
            return (
                "was deleted and made anew since it was recorded, so old positions mean other records: restore it, or begin again "
                "with all the app's topics and read models deleted"
            )
        config = self.configs.get(spec.name, {})
        for setting, wanted in spec.demanded.items():
            if config.get(setting) != wanted:
                return (
                    f"has {setting}={config.get(setting)}, {wanted} is demanded: mend it with `kafka-configs --alter --topic {spec.name} "
                    f"--add-config {setting}={wanted}`"
                )
        return None


def _read_recorded(meta: str, settings: Settings, admin: LogAdmin) -> dict[str, Mapping[str, Any]]:
    key = (meta, 0)
    end = admin.end_offsets([key])[key]
    recorded: dict[str, Mapping[str, Any]] = {}
    start = admin.first_offsets([key])[key]
    if start >= end:
        return recorded
    with LogReader(settings.kafka.client_config()) as reader:
        reader.assign({key: start})
        while reader.position(meta, 0) < end:
            records = reader.read(1_000, settings.kafka.request_timeout_seconds)
            if not records:
                raise BrokerUnavailable(
                    f"the records of topic {meta} could not be read to their end: check the broker's log"
                )
            for record in records:
                if record.value is not None:
                    recorded[record.key.decode()] = json.loads(record.value)
    return recorded


def _record(app: App, settings: Settings, admin: LogAdmin, topics: list[str]) -> None:
    meta = app.names(settings.namespace).meta
    topic_ids, partitions = admin.topic_ids(topics), admin.partition_counts(topics)
    failures: list[str] = []
    producer = Producer(producer_config(settings.kafka.client_config()))
    for topic in topics:
        value = json.dumps({"partitions": partitions[topic], "topic_id": topic_ids[topic].hex()})
        producer.produce(
            meta,
            key=topic.encode(),
            value=value.encode(),
            partition=0,
            on_delivery=lambda error, _: failures.append(error.str()) if error is not None else None,
        )
    try:
        waiting = producer.flush(settings.kafka.request_timeout_seconds)
    except KafkaException as error:
        raise BrokerUnavailable(
            f"topic {meta} took no record: {error}: try `eventsource topics apply` again"
        ) from error
    if waiting or failures:
        raise BrokerUnavailable(
            f"topic {meta} took no record ({failures[0] if failures else 'no answer'}): try `eventsource topics apply` again"
        )
