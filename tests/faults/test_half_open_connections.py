"""Connections that become half-open: requests arrive, and no answer ever comes back.

After one of each kind of request, every partition has an owner within a minute, and no page says ready while one has none.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from eventsource.commands.client import Client
from eventsource.errors import OutcomeUnknown
from eventsource.log.partitioner import aggregate_key, partition_for
from eventsource.log.topics import apply
from eventsource.settings import KafkaSettings, Settings
from tests.faults.kafka_proxy import Api, KafkaProxy
from tests.faults.ledger import Account, Deposit, Open, ledger
from tests.integration.worker.running import RunningWorker, until

pytestmark = pytest.mark.faults

OWNED_WITHIN_SECONDS = 60.0
# A request that nobody answers shows when its time is up; until then nobody can know.
NOTICED_WITHIN_SECONDS = 20.0
ASK_SECONDS = 1.0

# What one worker sends all the time, and what is sent when another one joins, or when it takes a partition over.
ALWAYS = (Api.HEARTBEAT, Api.FETCH, Api.PRODUCE, Api.METADATA, Api.TXN_OFFSET_COMMIT)
AT_A_REBALANCE = (Api.JOIN_GROUP, Api.SYNC_GROUP, Api.INIT_PRODUCER_ID)
IN_MAKE_TEST = (Api.JOIN_GROUP, Api.FETCH)
# Clients of several owners, of the replies and of the schemas send these: one of them alone may be of no importance.
CONNECTIONS = {Api.FETCH: 2, Api.PRODUCE: 3, Api.METADATA: 3}
OTHERS = (Api.OFFSET_FETCH, Api.FIND_COORDINATOR, Api.LIST_OFFSETS, Api.ADD_OFFSETS_TO_TXN, Api.END_TXN)


@dataclass
class Watch:
    """Asks every partition for something to do, again and again, and the pages of all workers whether they are ready."""

    client: Client
    workers: list[RunningWorker]
    ids: list[str]
    answered_at: dict[str, float] = field(default_factory=dict)
    longest_silence: dict[str, float] = field(default_factory=dict)
    dishonest_seconds: float = 0.0
    not_ready_seconds: float = 0.0

    def watch(self, stopped: threading.Event) -> None:
        threads = [threading.Thread(target=self._ask, args=(each, stopped)) for each in self.ids]
        for thread in threads:
            thread.start()
        before = time.monotonic()
        while not stopped.wait(0.2):
            ready = all(worker.get("/ready")[0] == 200 for worker in self.workers)
            now = time.monotonic()
            silent = max(now - at for at in self.answered_at.values())
            if ready and silent > NOTICED_WITHIN_SECONDS:
                self.dishonest_seconds += now - before
            if not ready:
                self.not_ready_seconds += now - before
            before = now
        for thread in threads:
            thread.join()

    def _ask(self, account: str, stopped: threading.Event) -> None:
        self.answered_at[account] = time.monotonic()
        number = 0
        while not stopped.wait(0.1):
            number += 1
            self._send(account, f"{account}-{number}-{time.monotonic_ns()}", stopped)
            now = time.monotonic()
            silence = now - self.answered_at[account]
            self.longest_silence[account] = max(self.longest_silence.get(account, 0.0), silence)
            self.answered_at[account] = now

    def _send(self, account: str, command_id: str, stopped: threading.Event) -> None:
        while not stopped.is_set():
            try:
                self.client.send(Account, account, Deposit(amount=1), command_id=command_id, timeout=ASK_SECONDS)
            except OutcomeUnknown:
                continue
            return


@contextmanager
def watched(watch: Watch) -> Iterator[None]:
    """Watches meanwhile, and no longer."""
    stopped = threading.Event()
    thread = threading.Thread(target=watch.watch, args=(stopped,))
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def ids_of_all_partitions() -> list[str]:
    found: dict[int, str] = {}
    for number in range(1_000):
        account = f"a{number}"
        found.setdefault(partition_for(aggregate_key(account), ledger.partitions_of(Account)), account)
    return list(found.values())


@pytest.fixture
def proxy(fault_settings: Settings) -> Iterator[KafkaProxy]:
    with KafkaProxy(fault_settings.kafka.bootstrap_servers) as running:
        yield running


def settings_of(settings: Settings, folder: Path, **kafka: Any) -> Settings:
    return settings.model_copy(
        update={
            "kafka": KafkaSettings(**{**settings.kafka.model_dump(), **kafka}),
            "worker": settings.worker.model_copy(update={"state_dir": folder}),
        }
    )


def apis(*chosen: Api) -> list[Any]:
    return [
        pytest.param(api, id=api.name.lower(), marks=() if api in IN_MAKE_TEST else pytest.mark.sweep) for api in chosen
    ]


@pytest.mark.parametrize("api", apis(*AT_A_REBALANCE, *ALWAYS, *OTHERS))
def test_every_partition_has_an_owner_again_and_ready_is_honest(
    api: Api, proxy: KafkaProxy, fault_settings: Settings, tmp_path: Path
) -> None:
    behind = settings_of(
        fault_settings,
        tmp_path / "behind",
        bootstrap_servers=proxy.bootstrap_servers,
        client={"topic.metadata.refresh.interval.ms": "2000"},
    )
    direct = settings_of(fault_settings, tmp_path / "direct")
    apply(ledger, fault_settings)
    with ExitStack() as opened:
        client = opened.enter_context(ledger.connect(fault_settings))
        first = RunningWorker(ledger, behind).start()
        opened.callback(first.stop)
        assert first.was_ready.wait(60)
        watch = Watch(client, [first], ids_of_all_partitions())
        for account in watch.ids:
            client.send(Account, account, Open(owner="o"))
        with watched(watch):
            until(lambda: watch.longest_silence.keys() == set(watch.ids), "all partitions to be asked")
            silence = proxy.silence(api, CONNECTIONS.get(api, 1))
            began = time.monotonic()
            if api not in ALWAYS:
                second = RunningWorker(ledger, direct).start()
                opened.callback(second.stop)
                watch.workers = [first, second]
            until(silence.begun.is_set, f"{api.name} to be sent")
            sprung = time.monotonic()
            # As long as librdkafka may take to notice; the connection is gone by then.
            until(lambda: time.monotonic() - sprung > 12, "the time-outs")
            until(
                lambda: (
                    all(time.monotonic() - at < 2 for at in watch.answered_at.values())
                    and all(worker.get("/ready")[0] == 200 for worker in watch.workers)
                ),
                "every partition to be owned and every worker to be ready",
                OWNED_WITHIN_SECONDS,
            )
            until(lambda: time.monotonic() - began > 20, "a while of watching")
    silent = max(watch.longest_silence.values())
    print(f"{api.name}: longest silence {silent:.1f} s, not ready for {watch.not_ready_seconds:.1f} s")
    assert silent < OWNED_WITHIN_SECONDS
    assert watch.dishonest_seconds == 0
    assert proxy.requests[Api.OFFSET_COMMIT] == 0, "offsets are committed in transactions alone"
