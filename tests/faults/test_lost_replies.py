"""A client outlives the replies that it has not read: deleted while it was away, or with their topic."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from structlog.testing import capture_logs

from eventsource.commands.client import Client
from eventsource.errors import OutcomeUnknown
from eventsource.log.admin import LogAdmin
from eventsource.log.topics import REPLY_PARTITIONS, apply
from eventsource.settings import Settings
from tests.faults.kafka_proxy import KafkaProxy
from tests.integration.client.accounts import APP, Account, Deposit, Open, Worker

pytestmark = pytest.mark.faults

CALLS = 10_000
OTHERS = 100
LIMIT_SECONDS = 120.0


class Gate(KafkaProxy):
    """A proxy that can be shut: it resets what is connected and lets nobody in."""

    is_shut = False

    def _accept(self) -> None:
        while not self._closed:
            super()._accept()  # it returns where a connection was refused

    def shut(self) -> None:
        self._target, self._open_target = ("127.0.0.1", 1), self._target
        for connection in list(self._connections):
            for one in connection:
                one.close()
        self._connections.clear()

    def open(self) -> None:
        self._target = self._open_target


@pytest.fixture
def settings(fault_settings: Settings) -> Settings:
    apply(APP, fault_settings)
    return fault_settings


@pytest.fixture
def gate(settings: Settings) -> Iterator[Gate]:
    with Gate(settings.kafka.bootstrap_servers) as running:
        yield running


def behind(gate: Gate, settings: Settings) -> Settings:
    kafka = settings.kafka.model_copy(
        update={
            "bootstrap_servers": gate.bootstrap_servers,
            "client": {"reconnect.backoff.ms": "50", "reconnect.backoff.max.ms": "200"},
            "request_timeout_seconds": 2.0,
        }
    )
    return settings.model_copy(update={"kafka": kafka})


def delete_replies(settings: Settings, partition: int) -> int:
    """Other clients' replies come, and all that was there is deleted. Returns the first offset that is left."""
    topic, config = APP.names(settings.namespace).replies, settings.kafka.client_config()
    producer = Producer(config)
    for _ in range(OTHERS):
        producer.produce(topic, b"another client's", b"another client", partition)
    assert producer.flush(30) == 0
    admin: Any = AdminClient(config)
    with LogAdmin(config) as log:
        end = log.end_offsets([(topic, partition)])[topic, partition]
        (deleting,) = admin.delete_records([TopicPartition(topic, partition, end)]).values()
        deleting.result()
        return log.first_offsets([(topic, partition)])[topic, partition]


def test_a_client_survives_an_outage_longer_than_the_retention_of_replies(settings: Settings, gate: Gate) -> None:
    with Worker(settings), APP.connect(behind(gate, settings)) as client:
        client.send(Account, "acc-1", Open(owner="Ada"))
        assert client.send(Account, "acc-1", Deposit(amount=1)).version == 2
        requests = client._connection.channel._requests
        gate.shut()
        first = delete_replies(settings, requests.partition)
        assert first > requests._position.offset
        pendings = [client.submit(Account, f"late-{number}", Open(owner="Bea"), timeout=3) for number in range(CALLS)]
        unknown = 0
        for pending in pendings:
            try:
                pending.result()
            except OutcomeUnknown:
                unknown += 1
        assert unknown == CALLS
        with capture_logs() as logs:
            gate.open()
            # One call, of the same client; it waits behind those that were queued, whose callers have gone.
            assert client.send(Account, "acc-1", Deposit(amount=1), timeout=LIMIT_SECONDS).version == 3
        assert "replies_interrupted" in {log["event"] for log in logs}
        assert requests._position.offset >= first


def test_a_client_survives_a_replies_topic_that_is_created_again(settings: Settings) -> None:
    with Worker(settings), APP.connect(settings) as client:
        for number in range(OTHERS):
            client.send(Account, f"acc-{number}", Open(owner="Ada"))
        admin: Any = AdminClient(settings.kafka.client_config())
        (deleting,) = admin.delete_topics([APP.names(settings.namespace).replies]).values()
        deleting.result()
        with pytest.raises(OutcomeUnknown):
            client.send(Account, "acc-0", Deposit(amount=1), timeout=1)
        with capture_logs() as logs:
            recreate(settings)
            version = answered(client)
        assert "replies_interrupted" in {log["event"] for log in logs}
        assert client.load(Account, "acc-0", timeout=LIMIT_SECONDS).version == version


def recreate(settings: Settings) -> None:
    topic = APP.names(settings.namespace).replies
    with LogAdmin(settings.kafka.client_config()) as admin:
        deadline = time.monotonic() + LIMIT_SECONDS
        while topic in admin.topic_names():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        admin.create_topics([NewTopic(topic, REPLY_PARTITIONS, 1)])


def answered(client: Client) -> int:
    """The version of the first command that is answered."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < deadline:
        try:
            return client.send(Account, "acc-0", Deposit(amount=1), timeout=2).version
        except OutcomeUnknown:
            continue
    raise AssertionError("no command was answered")
