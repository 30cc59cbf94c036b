"""Replies that no client can receive: they are dropped and counted, and hold up no owner."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Producer
from structlog.testing import capture_logs

from eventsource.clock import SystemClock
from eventsource.commands.client_codecs import ClientCodecs
from eventsource.commands.replies import ReplySender
from eventsource.log.headers import CommandHeaders, command_headers
from eventsource.log.partitioner import partition_for
from eventsource.log.topics import apply
from eventsource.schemas import KafkaSchemaStore
from eventsource.settings import ClientSettings, KafkaSettings, Settings, WorkerSettings
from tests.integration.client.accounts import APP, Account, Deposit, Open
from tests.integration.command_threads import WorkerThread, read_topic

NO_PARTITION = 4_000


@pytest.fixture
def settings(eventsource_stack: Any, eventsource_namespace: str, tmp_path: Path) -> Settings:
    made = Settings(
        _env_file=None,
        namespace=eventsource_namespace,
        kafka=KafkaSettings(bootstrap_servers=eventsource_stack.bootstrap_servers),
        client=ClientSettings(timeout_seconds=60),
        worker=WorkerSettings(state_dir=tmp_path / "stores"),
    )
    apply(APP, made)
    return made


def test_replies_to_a_partition_that_does_not_exist_are_dropped_without_a_wait(settings: Settings) -> None:
    topic = APP.names(settings.namespace).replies
    now = [0.0]
    sender = ReplySender(settings.kafka.client_config(), topic, monotonic=lambda: now[0])
    with capture_logs() as logs:
        # The partitions of the topic are known from the first reply that is delivered.
        sender.send([(0, b"a" * 16, b"before")])
        deadline = time.monotonic() + 30
        while not read_topic(settings, topic, 1) and time.monotonic() < deadline:
            pass
        began = time.thread_time(), time.monotonic()
        for _ in range(6):
            sender.send([(NO_PARTITION, uuid4().bytes, b"lost") for _ in range(100)])
        took = time.thread_time() - began[0], time.monotonic() - began[1]
        sender.send([(0, b"a" * 16, b"after")])
        now[0] += 60
        sender.close()
    assert took[1] - took[0] < 3.0, "the thread waited; it slept 0.1 s for each of 600 before"
    dropped = [log for log in logs if log["event"] == "replies_dropped"]
    assert 1 <= len(dropped) <= 3
    assert sum(log["replies"] for log in dropped) == 600
    assert {reason for log in dropped for reason in log["reasons"]} == {"_UNKNOWN_PARTITION"}
    assert [record.value for record in read_topic(settings, topic, 1)] == [b"before", b"after"]


def test_commands_with_unknown_reply_partitions_hold_up_no_other(settings: Settings) -> None:
    names = APP.names(settings.namespace)
    topic = names.commands("account")
    deposit = Deposit(amount=1)
    with (
        KafkaSchemaStore(names.schemas, settings.kafka.client_config()) as schemas,
        APP.connect(settings) as client,
        WorkerThread(APP, Account, settings),
    ):
        client.send(Account, "acc-1", Open(owner="Ada"))
        value = ClientCodecs(schemas).command(deposit)
        producer = Producer(settings.kafka.client_config())
        sent_at_ms = int(SystemClock().now().timestamp() * 1000)
        for number in range(600):
            headers = CommandHeaders(
                f"lost-{number}", "deposit", "/t", sent_at_ms, reply_partition=NO_PARTITION, client_id=uuid4().bytes
            )
            producer.produce(
                topic,
                value,
                b"acc-1",
                partition_for(b"acc-1", APP.partitions_of(Account)),
                headers=command_headers(headers),
            )
        producer.flush(30)
        began = time.monotonic()
        receipt = client.send(Account, "acc-1", Deposit(amount=1))
        took = time.monotonic() - began
        assert receipt.version == 602
    assert took < 30.0, "600 replies held their owner up for a minute before"
