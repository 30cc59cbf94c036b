"""What a client holds, when it is full, and what it does once it is closed or forked."""

from __future__ import annotations

import gc
import os
import signal
import tracemalloc
from collections.abc import Callable
from decimal import Decimal

import pytest

from eventsource.commands.client import Client
from eventsource.errors import (
    Backlogged,
    ClientClosed,
    ForkedClient,
    LoadUnanswered,
)
from eventsource.log.topics import apply
from eventsource.settings import KafkaSettings, Settings
from tests.integration.client.accounts import (
    APP,
    ONE,
    Account,
    Deposit,
    Open,
    Worker,
    versions,
)

# --- bounds ------------------------------------------------------------------------------------------------------------


def small(settings: Settings, **librdkafka: str) -> Settings:
    kafka = KafkaSettings(bootstrap_servers=settings.kafka.bootstrap_servers, client=librdkafka)
    return settings.model_copy(update={"kafka": kafka})


@pytest.mark.parametrize(
    "librdkafka",
    [{"queue_buffering_max_messages": "5"}, {"queue_buffering_max_kbytes": "20"}],
    ids=["messages", "bytes"],
)
def test_a_client_that_outruns_its_producer_waits_and_loses_nothing(
    settings: Settings, worker: Worker, librdkafka: dict[str, str]
) -> None:
    with APP.connect(small(settings, **librdkafka)) as client:
        pendings = [client.submit(Account, "acc-1", Open(owner="Ada"))]
        for number in range(150):
            command = Deposit(amount=Decimal(1), note=f"{number:04d}" + "x" * 1_500)
            pendings.append(client.submit(Account, "acc-1", command))
        assert [pending.result().version for pending in pendings] == list(range(1, 152))
        notes = [int(note[:4]) for note in client.load(Account, "acc-1").state.notes]
        assert notes == list(range(150))


def test_a_client_that_outruns_its_producer_is_told_and_nothing_was_sent(settings: Settings, worker: Worker) -> None:
    told, pendings = 0, []
    with APP.connect(small(settings, queue_buffering_max_messages="5")) as client:
        client.send(Account, "acc-1", Open(owner="Ada"))
        while told < 5:
            try:
                pendings.append(client.submit(Account, "acc-1", Deposit(amount=Decimal(1)), when_full="raise"))
            except Backlogged:
                told += 1
        for pending in pendings:
            pending.result()
        assert client.load(Account, "acc-1").state.balance == len(pendings)
        assert len(client._connection.channel._requests.in_flight) == 0
    assert versions(settings) == {"acc-1": list(range(1, len(pendings) + 2))}


def test_what_waits_for_an_answer_keeps_no_copy_of_its_command(settings: Settings) -> None:
    apply(APP, settings)
    with APP.connect(settings) as client:
        client.submit(Account, "acc-1", Open(owner="Ada"))
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            pendings = [
                client.submit(Account, "acc-1", Deposit(amount=Decimal(1), note=f"{number}" * 30_000))
                for number in range(100)
            ]
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert not any(pending.done() for pending in pendings)
        assert after - before < 1_000_000  # the commands take five times as much


def test_a_closed_client_neither_appends_nor_loads(settings: Settings) -> None:
    apply(APP, settings)
    client = APP.connect(settings)
    loading = client.submit_load(Account, "acc-1")
    client.close()
    with pytest.raises(LoadUnanswered):
        loading.result()
    for attempt in attempts(client):
        with pytest.raises(ClientClosed):
            attempt()


def test_a_fork_neither_appends_nor_loads(settings: Settings) -> None:
    apply(APP, settings)
    with APP.connect(settings) as client:
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # a child that is not refused waits for a thread that it does not have
            for attempt in attempts(client):
                try:
                    attempt()
                except ForkedClient:
                    os.write(write_end, b"refused ")
                except BaseException as error:  # noqa: BLE001
                    os.write(write_end, repr(error).encode())
            os._exit(0)
        os.waitpid(child, 0)
        os.close(write_end)
        assert os.read(read_end, 1_000) == b"refused " * 4
        os.close(read_end)


def attempts(client: Client) -> list[Callable[[], object]]:
    return [
        lambda: client.append(Account, "acc-1", [ONE], expected_version=0, timeout=1),
        lambda: client.submit_append(Account, "acc-1", [ONE], expected_version=0, timeout=1),
        lambda: client.load(Account, "acc-1", timeout=1),
        lambda: client.load(Account, "acc-1", at_version=1, timeout=1),
    ]
