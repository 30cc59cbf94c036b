"""Aggregates as they were, from the log of a real broker."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from confluent_kafka import Producer

from eventsource.commands.client import Client
from eventsource.errors import (
    NotFound,
    ReadTimedOut,
    VersionNotReached,
)
from eventsource.log.partitioner import partition_for
from eventsource.settings import Settings
from tests.integration.client.accounts import (
    APP,
    ONE,
    PARTITIONS,
    Account,
    Deposit,
    Open,
    Opened,
    Worker,
    event_times,
)

# --- time travel -------------------------------------------------------------------------------------------------------


def test_time_travel_by_version_and_time(client: Client, settings: Settings) -> None:
    other_id = next(
        f"x-{n}"
        for n in range(100)
        if partition_for(f"x-{n}".encode(), PARTITIONS) == partition_for(b"acc-1", PARTITIONS)
    )
    client.send(Account, "acc-1", Open(owner="Ada"))
    client.send(Account, other_id, Open(owner="Eve"))
    receipts = []
    for _ in range(4):
        receipts.append(client.send(Account, "acc-1", Deposit(amount=Decimal(1))))
        client.send(Account, other_id, Deposit(amount=Decimal(100)))
    for version in range(1, 6):
        loaded = client.load(Account, "acc-1", at_version=version)
        assert (loaded.version, loaded.state.balance) == (version, version - 1)
    assert [client.load(Account, "acc-1", at_version=receipt.version).token for receipt in receipts] == [
        receipt.token for receipt in receipts
    ]
    times = event_times(settings, "acc-1")
    for moment in times:
        newest = max(version for version, when in enumerate(times, 1) if when <= moment)
        assert client.load(Account, "acc-1", at_time=moment).version == newest
        before = [version for version, when in enumerate(times, 1) if when <= moment - timedelta(milliseconds=1)]
        if before:
            assert client.load(Account, "acc-1", at_time=moment - timedelta(milliseconds=1)).version == max(before)
    assert client.load(Account, "acc-1", at_time=datetime.now(UTC) + timedelta(days=1)) == client.load(Account, "acc-1")
    with pytest.raises(NotFound, match="did not exist yet"):
        client.load(Account, "acc-1", at_time=times[0] - timedelta(milliseconds=1))
    with pytest.raises(VersionNotReached, match="the newest is 5"):
        client.load(Account, "acc-1", at_version=6)
    with pytest.raises(NotFound):
        client.load(Account, "acc-2", at_version=1)


def test_time_travel_sees_what_was_just_answered(client: Client) -> None:
    """The broker marks a commit only after the owner was told of it: the end of what is stable may lie below."""
    client.append(Account, "acc-1", [Opened(owner="Ada"), ONE, ONE], expected_version=0)
    for version in range(4, 20):
        assert client.append(Account, "acc-1", [ONE], expected_version=version - 1).version == version
        assert client.load(Account, "acc-1", at_version=version).version == version


def test_time_travel_needs_no_worker_and_waits_for_no_open_transaction_longer_than_it_may(
    client: Client, settings: Settings, worker: Worker
) -> None:
    client.append(Account, "acc-1", [Opened(owner="Ada"), ONE], expected_version=0)
    worker.stop()
    assert client.load(Account, "acc-1", at_version=2).state.balance == 1
    topic = APP.names(settings.namespace).events("account")
    open_ended = Producer(
        {
            "bootstrap.servers": settings.kafka.bootstrap_servers,
            "transactional.id": f"{settings.namespace}.somebody",
            "transaction.timeout.ms": 60_000,
        }
    )
    open_ended.init_transactions(30)
    open_ended.begin_transaction()
    open_ended.produce(topic, b"", b"acc-1", partition_for(b"acc-1", PARTITIONS))
    open_ended.flush(30)
    began = time.monotonic()
    with pytest.raises(ReadTimedOut, match=r"up to offset \d+ of \d+ in 5 s.*a worker's transaction is open"):
        client.load(Account, "acc-1", at_version=2, timeout=5)
    assert time.monotonic() - began < 15
    open_ended.abort_transaction(30)
    assert client.load(Account, "acc-1", at_version=2).state.balance == 1
