"""The only broker ends under load, gracefully or hard, and comes back: no transaction is left without an end, no answer was wrong.

A broker that gives up the leadership of its partitions while owners commit completes transactions without writing their markers
(KAFKA-20734): nobody reads past them, and nobody can end them but by hand.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventsource.embedded import EmbeddedStack
from eventsource.errors import EmbeddedStackError
from eventsource.settings import ClientSettings, KafkaSettings, Settings, WorkerSettings
from tests.faults.ledger import PARTITIONS
from tests.faults.rig import Rig
from tests.faults.workload import Workload
from tests.sweeps import Sweep

pytestmark = pytest.mark.faults

ANSWER_SECONDS = 15.0
USUAL_START_SECONDS = 5.0
DISK_MEGABYTES = 400
SKIPPED_MARKERS = "Couldn't find leader endpoint"
GRACEFULLY, HARD = signal.SIGTERM, signal.SIGKILL


@pytest.fixture
def stack() -> Iterator[EmbeddedStack]:
    """Servers of its own: nobody else's broker is ended."""
    with EmbeddedStack.ephemeral() as started:
        yield started


@pytest.fixture
def own_rig(stack: EmbeddedStack, tmp_path: Path, seed: int) -> Iterator[Rig]:
    with Rig(settings_for(stack), tmp_path, seed) as made:
        yield made


def settings_for(stack: EmbeddedStack) -> Settings:
    return Settings(
        _env_file=None,
        namespace="ends",
        kafka=KafkaSettings(bootstrap_servers=stack.bootstrap_servers, session_timeout_seconds=6.0),
        worker=WorkerSettings(batch_size=20),
        client=ClientSettings(timeout_seconds=30.0),
    )


def answer_all(rig: Rig, workload: Workload, what: str, timeout_seconds: float) -> None:
    """Every partition answers."""
    before = {partition: workload.answered(partition) for partition in range(PARTITIONS)}

    def silent() -> list[int]:
        workload.check()
        return [partition for partition, answers in before.items() if workload.answered(partition) < answers + 3]

    rig.until(lambda: not silent(), f"answers from all partitions after {what}", timeout_seconds)


def test_owners_carry_on_after_the_only_broker_was_ended_and_started_again(
    stack: EmbeddedStack, own_rig: Rig, sweep: Sweep
) -> None:
    ends = [GRACEFULLY] * sweep.times(5, 10) + [HARD] * sweep.times(1, 10)
    own_rig.rng.shuffle(ends)
    # Processes of their own, as a stack's owner does not know them: nobody stops them before the broker.
    workers = [own_rig.start_ready(), own_rig.start_ready()]  # a start needs a broker
    with own_rig.workload() as workload:
        for number, end in enumerate(ends):
            for partition in range(PARTITIONS):
                own_rig.until_answered(workload, partition)
            time.sleep(own_rig.rng.uniform(0.0, 0.3))  # the moment is drawn, not waited for
            stack.kill_broker(1, end)
            began = time.monotonic()
            stack.start_broker(1)
            # Where a start takes longer than it does, all else does too.
            slowness = max(1.0, (time.monotonic() - began) / USUAL_START_SECONDS)
            answer_all(own_rig, workload, f"end {number} ({end.name})", ANSWER_SECONDS * slowness)
    assert all(worker.exit_code is None for worker in workers)
    assert SKIPPED_MARKERS not in stack.kafka_log.read_text(encoding="utf-8", errors="replace")
    own_rig.check()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk that can be filled without harm to anybody else's."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MEGABYTES}m", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip("this user may not mount a disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.sweep
def test_owners_carry_on_after_the_only_brokers_disk_was_full(small_disk: Path, tmp_path: Path, seed: int) -> None:
    with (
        EmbeddedStack(small_disk / "data", kafka_port=0, postgres_port=0, durable=False, short_lived=True) as stack,
        Rig(settings_for(stack), tmp_path, seed) as rig,
    ):
        worker = rig.start_ready()
        with rig.workload() as workload:
            answer_all(rig, workload, "the start", 4 * ANSWER_SECONDS)
            filler = small_disk / "filler"
            with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(bytes(64 * 1024))
            # Kafka ends a broker whose only folder cannot be written to.
            rig.until(lambda: died(stack), "the broker to end")
            filler.unlink()
            began = time.monotonic()
            stack.start_broker(1)
            slowness = max(1.0, (time.monotonic() - began) / USUAL_START_SECONDS)
            answer_all(rig, workload, "room was made", ANSWER_SECONDS * slowness)
        assert worker.exit_code is None
        rig.check()


def died(stack: EmbeddedStack) -> bool:
    try:
        stack.check()
    except EmbeddedStackError:
        return True
    return False


def test_a_broker_that_did_not_run_for_a_while_leaves_no_transaction_open(stack: EmbeddedStack, own_rig: Rig) -> None:
    worker = own_rig.start_ready()
    with own_rig.workload() as workload:
        for partition in range(PARTITIONS):
            own_rig.until_answered(workload, partition)
        stack.pause_broker(1)
        time.sleep(20.0)  # beyond the session that a broker has by default
        stack.resume_broker(1)
        answer_all(own_rig, workload, "a pause of 20 s", 2 * ANSWER_SECONDS)
    assert worker.exit_code is None
    log = stack.kafka_log.read_text(encoding="utf-8", errors="replace")
    assert SKIPPED_MARKERS not in log
    assert "Fencing broker 1" not in log
    own_rig.check()
