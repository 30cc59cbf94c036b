"""What the fault tests share: a seed, and the rig."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventsource.settings import ClientSettings, KafkaSettings, Settings, WorkerSettings
from eventsource.testing.stack import SessionStack
from tests.faults.rig import SEED_VARIABLE, Rig


@pytest.fixture
def seed() -> int:
    """Drawn anew for each test and printed; EVENTSOURCE_FAULTS_SEED repeats a run."""
    given = os.environ.get(SEED_VARIABLE)
    drawn = int(given) if given else random.SystemRandom().randrange(10**9)
    print(f"{SEED_VARIABLE}={drawn}")
    return drawn


@pytest.fixture
def fault_settings(eventsource_stack: SessionStack, eventsource_namespace: str) -> Settings:
    """Short sessions, so that the dead are missed soon, and small batches, so that there are many moments to be hit at."""
    return Settings(
        _env_file=None,
        namespace=eventsource_namespace,
        kafka=KafkaSettings(bootstrap_servers=eventsource_stack.bootstrap_servers, session_timeout_seconds=2.0),
        worker=WorkerSettings(batch_size=20),
        client=ClientSettings(timeout_seconds=30.0),
    )


@pytest.fixture
def rig(fault_settings: Settings, tmp_path: Path, seed: int) -> Iterator[Rig]:
    """A ledger in a namespace of its own."""
    with Rig(fault_settings, tmp_path, seed) as made:
        yield made
