"""Brokers of several that die and come back: owners return by themselves, and nothing is lost or done twice.

The only broker is in test_broker_ends.py.
"""

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


@pytest.fixture
def stack() -> Iterator[EmbeddedStack]:
    """Servers of its own: nobody else's broker is killed."""
    with EmbeddedStack.ephemeral(brokers=3) as started:
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
