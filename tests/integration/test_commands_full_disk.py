"""A state store whose disk is full: a cache that cannot be written holds up no command, and is written again once there is room."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from eventsource.commands.memory_budget import MemoryBudget
from eventsource.log.topics import apply
from eventsource.settings import ClientSettings, KafkaSettings, Settings, WorkerSettings
from tests.counter_log import Begin, Count, Log
from tests.integration.client.accounts import APP, Account, Deposit, Open
from tests.integration.command_threads import WorkerThread

ACCOUNTS = 300


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a file system of its own needs the right to mount one")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Takes all the room that is left."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(64 << 10))
        except OSError:
            return filler


def settings_of(stack: Any, namespace: str, state_dir: Path) -> Settings:
    made = Settings(
        _env_file=None,
        namespace=namespace,
        kafka=KafkaSettings(bootstrap_servers=stack.bootstrap_servers),
        client=ClientSettings(timeout_seconds=60),
        worker=WorkerSettings(state_dir=state_dir),
    )
    apply(APP, made)
    return made


def deposit_everywhere(client: Any, times: int) -> float:
    """How many seconds it takes."""
    began = time.monotonic()
    for _ in range(times):
        for pending in [client.submit(Account, f"a-{n}", Deposit(amount=1)) for n in range(ACCOUNTS)]:
            pending.result()
    return time.monotonic() - began


def test_commands_go_on_while_the_disk_is_full(eventsource_stack: Any, eventsource_namespace: str, disk: Path) -> None:
    settings = settings_of(eventsource_stack, eventsource_namespace, disk)
    with capture_logs() as logs, APP.connect(settings) as client:

        def logged(event: str) -> list[Any]:
            return [log for log in logs if log["event"] == event]

        with WorkerThread(APP, Account, settings):
            for pending in [client.submit(Account, f"a-{n}", Open(owner="Ada")) for n in range(ACCOUNTS)]:
                pending.result()
            usual = deposit_everywhere(client, 3)
            filler = fill(disk)
            rounds, full = 0, 0.0
            # Checkpoints come every few seconds.
            while not logged("state_store_set_aside") or rounds < 6:
                full += deposit_everywhere(client, 1)
                rounds += 1
                assert full < 60, "commands wait for the disk, or nothing is written to it"
            assert full / rounds < 10 * (usual / 3) + 2.0
            assert not logged("owner_returns_to_committed_state")
            assert len(logged("state_store_set_aside")) <= 2  # partitions
            filler.unlink()
            deadline = time.monotonic() + 60
            while len(logged("state_store_back")) < len(logged("state_store_set_aside")):
                deposit_everywhere(client, 1)
                rounds += 1
                assert time.monotonic() < deadline
        expected = 3 + rounds
        with WorkerThread(APP, Account, settings):
            assert client.load(Account, "a-7").state.balance == expected
        replayed = sum(log["events"] for log in logged("partition_taken_over")[2:])
        assert replayed < ACCOUNTS * expected / 2, "the store was not used again"


def test_a_worker_that_takes_over_on_a_full_disk_goes_on_from_the_log(
    eventsource_stack: Any, eventsource_namespace: str, disk: Path
) -> None:
    settings = settings_of(eventsource_stack, eventsource_namespace, disk)
    filler = fill(disk)
    with capture_logs() as logs, APP.connect(settings) as client:
        with WorkerThread(APP, Account, settings):
            client.send(Account, "a-1", Open(owner="Ada"))
            assert client.send(Account, "a-1", Deposit(amount=1)).version == 2
            filler.unlink()
            deadline = time.monotonic() + 60
            while not [log for log in logs if log["event"] == "state_store_back"]:
                client.send(Account, "a-1", Deposit(amount=1))
                assert time.monotonic() < deadline
        with WorkerThread(APP, Account, settings):
            assert client.load(Account, "a-1").version >= 2


def test_what_the_disk_cannot_take_in_stays_within_the_budget(disk: Path) -> None:
    log = Log(budget=MemoryBudget(2 << 20))
    filler = disk / "filler"
    owner = log.owner(disk / "db")
    log.take(owner, log.command("begin-first", Begin(), "first"))
    owner.memory.checkpoint(0.0)
    fill(disk)
    number = 0
    while not owner.memory.is_full:
        batch = []
        for _ in range(200):
            number += 1
            batch += [
                log.command(f"b-{number}", Begin(), f"id-{number}"),
                log.command(f"c-{number}", Count(notes={"n" * 500: 1.0}), f"id-{number}"),
            ]
        log.take(owner, *batch)
        owner.memory.checkpoint(0.0)
        assert number < 20_000, "memory has no bound"
    # What only the disk holds can be read all the while.
    assert log.take(owner, log.command("again", Count(), "first"))[0].version == 2
    filler.unlink()
    log.clock.advance(timedelta(seconds=60))
    owner.memory.checkpoint(0.0)
    assert not owner.memory.is_full
    assert not owner.memory.health.is_aside
    owner.memory.close()
    successor = log.owner(disk / "db")
    assert successor.memory.position.events == owner.memory.position.events
    assert log.take(successor, log.command("last", Count(), f"id-{number}"))[0].version == 3
    successor.memory.close()
