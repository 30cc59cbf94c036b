"""Brokers that die and come back: owners return by themselves, and nothing is lost or done twice."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventsource.embedded import EmbeddedStack
from eventsource.settings import ClientSettings, KafkaSettings, Settings, WorkerSettings
from tests.faults.ledger import PARTITIONS
from tests.faults.rig import Rig

pytestmark = pytest.mark.faults


ONE, THREE = "one broker", "three brokers"


@pytest.fixture
def brokers(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def stack(brokers: int) -> Iterator[EmbeddedStack]:
    """Servers of its own: nobody else's broker is killed."""
    with EmbeddedStack.ephemeral(brokers=brokers) as started:
        yield started


@pytest.fixture
def own_rig(stack: EmbeddedStack, tmp_path: Path, seed: int) -> Iterator[Rig]:
    settings = Settings(
        _env_file=None,
        namespace="restarts",
        kafka=KafkaSettings(bootstrap_servers=stack.bootstrap_servers, session_timeout_seconds=6.0),
        worker=WorkerSettings(batch_size=20),
        client=ClientSettings(timeout_seconds=30.0),
    )
    with Rig(settings, tmp_path, seed) as made:
        yield made


@pytest.mark.parametrize("brokers", [3], ids=[THREE], indirect=True)
def test_owners_carry_on_after_every_broker_was_killed_in_turn(stack: EmbeddedStack, own_rig: Rig) -> None:
    worker = own_rig.start_ready()
    with own_rig.workload() as workload:
        for broker in (1, 2, 3):
            own_rig.until_answered(workload)
            stack.kill_broker(broker, signal.SIGKILL)
            stack.start_broker(broker)
            for partition in range(PARTITIONS):
                own_rig.until_answered(workload, partition)
    assert worker.exit_code is None
    own_rig.check()


@pytest.mark.parametrize("brokers", [1], ids=[ONE], indirect=True)
def test_owners_carry_on_after_the_only_broker_was_ended_and_started_again(stack: EmbeddedStack, own_rig: Rig) -> None:
    # Between transactions: of one that is just being ended, Kafka 4.3 loses the markers when a partition's last replica
    # goes (KAFKA-20734), and no client can bring them back.
    worker = own_rig.start_ready()
    with own_rig.workload() as workload:
        for number in (signal.SIGKILL, signal.SIGTERM):
            own_rig.until_answered(workload)
            workload.pause()
            own_rig.until(own_rig.is_at_rest, "all transactions to end")
            stack.kill_broker(1, number)
            workload.resume()
            stack.start_broker(1)
            for partition in range(PARTITIONS):
                own_rig.until_answered(workload, partition)
    assert worker.exit_code is None
    own_rig.check()
