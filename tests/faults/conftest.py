"""What the fault tests share: the rig."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from eventsource.settings import ClientSettings, KafkaSettings, Settings, WorkerSettings
from eventsource.testing.stack import SessionStack
from tests.faults.rig import Rig


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
