"""Records deleted, topics made anew or given partitions, offsets lost: everything stops, says why, and executes nothing again."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from eventsource.cli.exit_codes import DANGER, NOT_AS_DEMANDED
from eventsource.errors import OutcomeUnknown
from eventsource.log.admin import LogAdmin
from eventsource.log.topics import topic_specs
from eventsource.settings import Settings
from tests.faults.ledger import Account, Deposit, Open, ledger
from tests.faults.rig import Rig

pytestmark = pytest.mark.faults


class Vandal:
    """Does to topics and groups what nobody should."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._names = ledger.names(settings.namespace)
        self._admin: Any = AdminClient(settings.kafka.client_config())

    def delete_first_event(self) -> None:
        topic = self._names.events("account")
        places = [TopicPartition(topic, partition, 1) for partition in range(2)]
        for future in self._admin.delete_records(places).values():
            future.result(10)

    def make_anew(self, topic: str) -> None:
        (spec,) = [spec for spec in topic_specs(ledger, self._settings) if spec.name == topic]
        self._admin.delete_topics([topic])[topic].result(10)
        deadline = time.monotonic() + 20
        while True:
            new = NewTopic(topic, spec.partitions, 1, config=dict(spec.config))
            try:
                self._admin.create_topics([new])[topic].result(10)
            except KafkaException:
                assert time.monotonic() < deadline, f"{topic} could not be made again"
                time.sleep(0.05)
            else:
                break
        log = LogAdmin(self._settings.kafka.client_config())
        log.wait_until_described({topic})
        log.end_offsets([(topic, partition) for partition in range(spec.partitions)])  # waits for their leaders

    def make_events_anew(self) -> None:
        self.make_anew(self._names.events("account"))

    def make_commands_anew(self) -> None:
        self.make_anew(self._names.commands("account"))

    def add_partitions(self) -> None:
        for topic in (self._names.commands("account"), self._names.events("account")):
            self._admin.create_partitions([NewPartitions(topic, 4)])[topic].result(10)

    def delete_offsets(self) -> None:
        group = self._names.owners("account")
        deadline = time.monotonic() + 20
        while True:
            try:
                self._admin.delete_consumer_groups([group])[group].result()
            except KafkaException:
                assert time.monotonic() < deadline, f"group {group} could not be deleted"
                time.sleep(0.05)
            else:
                return


DAMAGES: list[tuple[Callable[[Vandal], None], int, str]] = [
    (Vandal.delete_first_event, DANGER, "records were deleted"),
    (Vandal.make_events_anew, NOT_AS_DEMANDED, "was deleted and made anew since it was recorded"),
    (Vandal.make_commands_anew, NOT_AS_DEMANDED, "was deleted and made anew since it was recorded"),
    (Vandal.add_partitions, NOT_AS_DEMANDED, "has 4 partitions, the app wants 2"),
    (Vandal.delete_offsets, DANGER, "no committed offset"),
]


def facts(rig: Rig) -> list[int]:
    """The ends of events and outcomes: they move with whatever is executed."""
    return list(rig.evidence.fact_ends().values())


def handle_some(rig: Rig) -> None:
    """Accounts in both partitions, each with a history."""
    with rig.connect() as client:
        for number in range(6):
            client.send(Account, f"a{number}", Open(owner="client"))
            client.send(Account, f"a{number}", Deposit(amount=1))


@pytest.mark.parametrize(("damage", "code", "told"), DAMAGES, ids=lambda value: getattr(value, "__name__", None))
def test_a_worker_does_not_start_on_a_damaged_log(
    rig: Rig, damage: Callable[[Vandal], None], code: int, told: str
) -> None:
    worker = rig.start_ready()
    handle_some(rig)
    assert worker.end() == 0
    damage(Vandal(rig.settings))
    before = facts(rig)
    # Offsets are looked for when a partition is taken over, and by default it alone would stop.
    refused = rig.run("run", "tests.faults.ledger:ledger", "--health-port", "0", "--fail-fast")
    assert refused.wait() == code, refused.log()
    assert told in refused.log()
    assert refused.log().count('"event": "command_failed"') == 1
    assert "Traceback" not in refused.log()
    assert facts(rig) == before


RUNNING: list[tuple[Callable[[Vandal], None], int, str]] = [
    (Vandal.make_events_anew, DANGER, "made anew"),
    (Vandal.make_commands_anew, DANGER, "created again"),
    (Vandal.add_partitions, NOT_AS_DEMANDED, "so nobody may write here"),
]


@pytest.mark.parametrize(("damage", "code", "told"), RUNNING, ids=lambda value: getattr(value, "__name__", None))
def test_a_worker_ends_when_its_log_is_damaged_under_it(
    rig: Rig, damage: Callable[[Vandal], None], code: int, told: str
) -> None:
    # Metadata is asked for every 30 s otherwise, and tells of new partitions.
    kafka = rig.settings.kafka.model_copy(update={"client": {"topic.metadata.refresh.interval.ms": "1000"}})
    worker = rig.start(settings=rig.settings.model_copy(update={"kafka": kafka}))
    handle_some(rig)
    with rig.connect() as client:
        damage(Vandal(rig.settings))
        pending = client.submit(Account, "a0", Deposit(amount=1), timeout=10)
        assert worker.wait() == code, worker.log()
        with contextlib.suppress(
            OutcomeUnknown
        ):  # where partitions were added, it may have been handled before that was seen
            pending.result()
    assert told in worker.log()
    assert "Traceback" not in worker.log()
    events = rig.evidence.read().events
    assert [event.version for event in events if event.aggregate_id == "a0"] in ([], [1, 2], [1, 2, 3])
