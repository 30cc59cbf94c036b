"""Fatal errors of librdkafka in what a worker and a client stand on: replaced, or returned from, and never the end of a thread."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from confluent_kafka import KafkaError, Producer

from eventsource.commands.client import Client
from eventsource.errors import OutcomeUnknown
from eventsource.log.topics import apply
from eventsource.log.transactions import PartitionWriter
from eventsource.settings import ClientSettings, KafkaSettings, Settings
from tests.integration.client.accounts import APP, Account, Deposit, Open
from tests.integration.command_threads import WorkerThread
from tests.integration.fatal_errors import OUT_OF_ORDER, fail_for_good


@pytest.fixture
def settings(eventsource_stack: Any, eventsource_namespace: str) -> Settings:
    made = Settings(
        _env_file=None,
        namespace=eventsource_namespace,
        kafka=KafkaSettings(bootstrap_servers=eventsource_stack.bootstrap_servers),
        client=ClientSettings(timeout_seconds=30),
    )
    apply(APP, made)
    return made


@pytest.fixture
def before() -> set[int]:
    return {id(found) for found in gc.get_objects() if isinstance(found, Producer)}


@pytest.fixture
def client(settings: Settings, before: set[int]) -> Iterator[Client]:
    with WorkerThread(APP, Account, settings), APP.connect(settings) as connected:
        connected.send(Account, "acc-1", Open(owner="Ada"))
        yield connected


def producers_since(before: set[int]) -> list[Producer]:
    return [found for found in gc.get_objects() if isinstance(found, Producer) and id(found) not in before]


def test_commands_are_answered_after_every_producer_met_a_fatal_error(client: Client, before: set[int]) -> None:
    met = producers_since(before)
    assert len(met) >= 2 * 2 + 2  # two of each owner, one for replies, one for commands
    for producer in met:
        fail_for_good(producer)
    answered = _send_until_answered(client)
    assert client.load(Account, "acc-1").version == 1 + answered


def test_a_writer_that_met_a_fatal_error_is_to_be_replaced(eventsource_stack: Any, eventsource_namespace: str) -> None:
    for code in (OUT_OF_ORDER, KafkaError._FENCED):
        for turn in (0, 1):
            config = {"bootstrap.servers": eventsource_stack.bootstrap_servers}
            writer = PartitionWriter(config, [f"{eventsource_namespace}-{code}-{turn}-{number}" for number in (0, 1)])
            try:
                writer.fence()
                assert writer.suspect() is None
                fail_for_good(writer._producers[turn], code)
                doubt = writer.suspect()
                assert doubt is not None
                assert "gave one up" in doubt
            finally:
                writer.close()


def _send_until_answered(client: Client) -> int:
    deadline = time.monotonic() + 60
    command_id, sent_at = None, None
    while time.monotonic() < deadline:
        try:
            client.send(Account, "acc-1", Deposit(amount=Decimal(1)), command_id=command_id, sent_at=sent_at, timeout=5)
        except OutcomeUnknown as error:
            command_id, sent_at = error.command_id, error.sent_at
        else:
            return 1
    raise AssertionError("no command was answered any more")
