"""A cluster that was set up carelessly and does not tell everything: what the doctor cannot see counts as broken."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any, Self

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from eventsource.app import App
from eventsource.doctor import Severity, check_start, examine
from eventsource.domain import Aggregate, Command, Event, creates
from eventsource.embedded import EmbeddedStack
from eventsource.errors import ClusterMismatch
from eventsource.log.topics import apply
from eventsource.settings import KafkaSettings, Settings
from eventsource.testing.namespace import new_namespace

CARELESS = {
    "auto.create.topics.enable": "true",
    "offsets.retention.minutes": "10080",
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}


class Light(Command, name="light"):
    pass


class Lit(Event, name="lit"):
    pass


class Lamp(Aggregate, name="lamp"):
    @creates
    @classmethod
    def light(cls, command: Light) -> Lit:
        return Lit()

    @creates
    @classmethod
    def on_lit(cls, event: Lit) -> Self:
        return cls()


LAMPS = App("lamps", aggregates=[Lamp], partitions=1)


@pytest.fixture(scope="module")
def careless() -> Iterator[EmbeddedStack]:
    with EmbeddedStack.ephemeral(kafka_config=CARELESS) as stack:
        yield stack


@pytest.fixture
def settings(careless: EmbeddedStack) -> Settings:
    # The stack's own folder goes with it: nothing in it has to be removed.
    kafka = KafkaSettings(bootstrap_servers=careless.bootstrap_servers, request_timeout_seconds=3)
    settings = Settings(_env_file=None, namespace=new_namespace(uuid.uuid4().hex), kafka=kafka)  # type: ignore[call-arg]
    apply(LAMPS, settings)
    return settings


def deny(settings: Settings, kind: ResourceType, name: str, operation: AclOperation) -> None:
    """Takes one right away; what else was allowed by the absence of rules is allowed by one."""

    def rule(operation: AclOperation, permission: AclPermissionType) -> AclBinding:
        return AclBinding(kind, name, ResourcePatternType.LITERAL, "User:ANONYMOUS", "*", operation, permission)

    admin: Any = AdminClient(settings.kafka.client_config())
    rules = [rule(operation, AclPermissionType.DENY), rule(AclOperation.ALL, AclPermissionType.ALLOW)]
    for future in admin.create_acls(rules).values():
        future.result(10)


def test_careless_brokers_are_warned_of_in_development_and_dangerous_in_production(settings: Settings) -> None:
    warned = {finding.rule: finding.problem for finding in examine(LAMPS, settings, replay=False).warnings}
    assert "auto.create.topics.enable=true" in warned["auto-topic-creation"]
    assert "offsets.retention.minutes=10080" in warned["offsets-retention"]
    check_start(LAMPS, settings)
    strict = settings.model_copy(update={"environment": "production"})
    dangers = {finding.rule for finding in examine(LAMPS, strict, replay=False).dangers}
    assert "auto-topic-creation" in dangers
    assert "offsets-retention" not in dangers
    with pytest.raises(ClusterMismatch, match="auto-topic-creation"):
        check_start(LAMPS, strict)


def test_what_the_principal_may_not_ask_could_not_be_checked(settings: Settings) -> None:
    names = LAMPS.names(settings.namespace)
    deny(settings, ResourceType.GROUP, names.owners("lamp"), AclOperation.DESCRIBE)
    deny(settings, ResourceType.TOPIC, names.replies, AclOperation.WRITE)
    diagnosis = examine(LAMPS, settings)
    unchecked = {finding.rule: finding for finding in (*diagnosis.dangers, *diagnosis.warnings) if not finding.checked}
    assert set(unchecked) == {
        "commands-deleted",
        "committed-offset-missing",
        "committed-offset-behind",
        "committed-offset-past-end",
        "stray-offsets",
        "clock-skew",
    }
    assert all("ACLs" in finding.mend for finding in unchecked.values())
    assert unchecked["commands-deleted"].severity is Severity.DANGER
    with pytest.raises(ClusterMismatch, match="could not be checked"):
        check_start(LAMPS, settings)
    check_start(LAMPS, settings, accepted=["commands-deleted", "committed-offset-past-end"])
    check_start(LAMPS, settings, commands_of=[])


def test_topics_that_may_not_be_described_could_not_be_checked(settings: Settings) -> None:
    deny(settings, ResourceType.TOPIC, LAMPS.names(settings.namespace).events("lamp"), AclOperation.DESCRIBE_CONFIGS)
    unchecked = {finding.rule for finding in examine(LAMPS, settings).dangers if not finding.checked}
    assert {"events-retention", "topics-missing", "events-deleted", "stopped-aggregate"} <= unchecked
    with pytest.raises(ClusterMismatch, match="check the principal's ACLs"):
        check_start(LAMPS, settings)
