"""Kills in the middle of the bank's import: whatever dies, the figures stay those of the file.

The moments are drawn from a seed, which is printed; EVENTSOURCE_FAULTS_SEED repeats a run.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka.admin import AdminClient

from eventsource.clock import SystemClock
from eventsource.errors import LogError
from eventsource.log.admin import LogAdmin
from eventsource.settings import KafkaSettings, Settings
from eventsource.testing.stack import SessionStack
from examples.bank import bank
from examples.bank.audit import audit
from examples.bank.worker_process import WorkerProcess

pytestmark = pytest.mark.faults

ROWS = 12_000
# With few in flight the log grows slowly and in small steps: there is a middle to strike in.
FEW = {"EVENTSOURCE_CLIENT__MAX_IN_FLIGHT": "200"}
PARTITIONS = 8
WAIT_SECONDS = 120.0
POLL_SECONDS = 0.02


@pytest.fixture
def rng(seed: int) -> random.Random:
    return random.Random(seed)


@pytest.fixture
def root(request: pytest.FixtureRequest) -> Path:
    return request.config.rootpath


@pytest.fixture
def environment(eventsource_stack: SessionStack, eventsource_namespace: str, root: Path) -> dict[str, str]:
    own = {"EVENTSOURCE_NAMESPACE": eventsource_namespace, "PYTHONPATH": str(root)}
    return {**os.environ, **eventsource_stack.environment, **own}


@pytest.fixture
def settings(eventsource_stack: SessionStack, eventsource_namespace: str) -> Settings:
    kafka = KafkaSettings(bootstrap_servers=eventsource_stack.bootstrap_servers)
    return Settings(_env_file=None, namespace=eventsource_namespace, kafka=kafka)


@pytest.fixture
def whole_history(root: Path) -> Path:
    return root / "examples/bank/data/transactions.csv.gz"


@pytest.fixture
def history(whole_history: Path, tmp_path: Path) -> Path:
    """The first rows of the real history."""
    path = tmp_path / "history.csv.gz"
    with (
        gzip.open(whole_history, "rt", encoding="utf-8", newline="") as source,
        gzip.open(path, "wt", encoding="utf-8", newline="") as target,
    ):
        target.writelines(islice(source, ROWS + 1))
    return path


class Importing:
    """An import that runs in a process of its own."""

    def __init__(self, path: Path, environment: dict[str, str], root: Path, *options: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "examples.bank.import_history", str(path), "--json", *options],
            cwd=root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Importing:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

    def worker(self) -> psutil.Process:
        """The worker that the import started."""
        (found,) = [child for child in psutil.Process(self._process.pid).children() if "run" in child.cmdline()]
        return found

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(WAIT_SECONDS)

    def runs(self) -> bool:
        return self._process.poll() is None

    def finish(self) -> tuple[int, str, str]:
        """Exit code, standard output and standard error, once it ended."""
        out, err = self._process.communicate(timeout=WAIT_SECONDS)
        return self._process.returncode, out, err


@pytest.fixture
def start_import(environment: dict[str, str], root: Path) -> Iterator[Callable[..., Importing]]:
    with contextlib.ExitStack() as stack:
        yield lambda path, *options, **more: stack.enter_context(
            Importing(path, {**environment, **more}, root, *options)
        )


@pytest.fixture
def start_worker(environment: dict[str, str]) -> Iterator[Callable[[], WorkerProcess]]:
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(WorkerProcess(environment, clock=SystemClock()))


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come in time"
        time.sleep(POLL_SECONDS)


def wait_for_events(settings: Settings, wanted: int, importing: Importing) -> None:
    """Until so many offsets of the events topics are written: the middle of the import."""

    def written() -> bool:
        if not importing.runs():
            pytest.fail(f"the import ended before {wanted} events were written: {importing.finish()}")
        with contextlib.suppress(LogError):  # the topics may not be there yet
            return sum(event_ends(settings).values()) >= wanted
        return False

    wait_until(written, f"event {wanted}")


def owners(settings: Settings) -> dict[str, set[int]]:
    """The commands partitions of each worker, by its member id."""
    admin: Any = AdminClient(settings.kafka.client_config())
    group = bank.names(settings.namespace).owners("account")
    description = admin.describe_consumer_groups([group])[group].result()
    return {
        member.member_id: {partition.partition for partition in member.assignment.topic_partitions}
        for member in description.members
    }


def event_ends(settings: Settings) -> dict[int, int]:
    """The end offset of each events partition."""
    topic = bank.names(settings.namespace).events("account")
    ends = LogAdmin(settings.kafka.client_config()).end_offsets([(topic, number) for number in range(PARTITIONS)])
    return {number: end for (_, number), end in ends.items()}


def assert_in_the_middle(settings: Settings) -> None:
    """A kill proves something only if there was work left: the ends of transactions make the sum larger, never smaller."""
    assert 0 < sum(event_ends(settings).values()) < ROWS


def figures_of(path: Path) -> dict[str, Any]:
    """The figures that a file must lead to, computed from it alone."""
    totals: dict[str, Decimal] = {}
    drifts: dict[str, Decimal] = {}
    largest = Decimal(0)
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        account, sign = row["account_id"], 1 if row["kind"] == "credit" else -1
        totals[account] = totals.get(account, Decimal(0)) + sign * Decimal(row["amount"])
        drifts[account] = abs(totals[account] - Decimal(row["balance"]))
        largest = max(largest, drifts[account])
    return {
        "transactions": len(rows),
        "accounts": len(totals),
        "accepted": len(rows),
        "rejected": 0,
        "accounts_without_drift": sum(drift == 0 for drift in drifts.values()),
        "largest_drift": float(largest),
        "rebuild_identical": True,
    }


def assert_complete(importing: Importing, path: Path, settings: Settings) -> None:
    """The import's figures are the file's, and the log holds each account's versions 1…n, each command once."""
    code, out, err = importing.finish()
    assert code == 0, err
    figures = figures_of(path)
    found = json.loads(out.splitlines()[-1])
    assert {name: found[name] for name in figures} == figures
    in_log = audit(bank, settings)
    assert in_log.events == len(in_log.command_ids) == figures["transactions"] + figures["accounts"]
    assert len(in_log.versions) == figures["accounts"]


# --- faults ------------------------------------------------------------------------------------------------------


def test_after_its_worker_was_killed_an_import_started_again_completes(
    history: Path, settings: Settings, start_import: Callable[..., Importing], rng: random.Random
) -> None:
    first = start_import(history, **FEW)
    wait_for_events(settings, rng.randrange(200, 2_000), first)
    worker = first.worker()
    worker.kill()
    assert_in_the_middle(settings)
    code, out, err = first.finish()
    assert (code, out) == (3, "")
    assert err.count("\n") == 1
    assert (
        f"the worker process {worker.pid} was ended by SIGKILL; what was accepted stays accepted: import again" in err
    )

    assert_complete(start_import(history), history, settings)


def test_an_import_outlives_the_kill_of_a_worker_that_is_started_again(
    history: Path,
    settings: Settings,
    start_import: Callable[..., Importing],
    start_worker: Callable[[], WorkerProcess],
    rng: random.Random,
) -> None:
    importing = start_import(history, "--no-worker", **FEW)
    first = start_worker_once_topics_are_there(settings, start_worker)
    wait_for_events(settings, rng.randrange(200, 2_000), importing)
    os.kill(first.pid, signal.SIGKILL)
    assert_in_the_middle(settings)
    start_worker()
    assert_complete(importing, history, settings)


def test_a_second_worker_takes_over_partitions_during_the_import(
    whole_history: Path,
    settings: Settings,
    start_import: Callable[..., Importing],
    start_worker: Callable[[], WorkerProcess],
    rng: random.Random,
) -> None:
    importing = start_import(whole_history, EVENTSOURCE_CLIENT__MAX_IN_FLIGHT="1000")
    wait_for_events(settings, rng.randrange(500, 3_000), importing)
    before = owners(settings).keys()
    start_worker()

    def taken() -> set[int]:
        return set().union(*(found for member, found in owners(settings).items() if member not in before))

    wait_until(lambda: bool(taken()), "the second worker's partitions")
    partitions, ends = taken(), event_ends(settings)
    assert importing.runs()
    assert_complete(importing, whole_history, settings)
    # From then on nobody but the second worker could write there.
    assert any(event_ends(settings)[partition] > ends[partition] for partition in partitions)


def test_a_killed_import_takes_its_worker_along_and_can_be_started_again(
    history: Path, settings: Settings, start_import: Callable[..., Importing], rng: random.Random
) -> None:
    first = start_import(history, **FEW)
    wait_for_events(settings, rng.randrange(200, 2_000), first)
    worker = first.worker()
    first.kill()
    assert_in_the_middle(settings)
    wait_until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE, "the end of the worker")

    assert_complete(start_import(history), history, settings)


def start_worker_once_topics_are_there(settings: Settings, start_worker: Callable[[], WorkerProcess]) -> WorkerProcess:
    admin = LogAdmin(settings.kafka.client_config())
    names = bank.names(settings.namespace)
    wait_until(lambda: names.outcomes("account") in admin.topic_names(), "the last topic")
    return start_worker()
