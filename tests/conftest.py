"""What holds for every test: examples enough to find a mistake, and no time limit on a busy machine."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("eventsource", max_examples=50, deadline=None)
settings.load_profile("eventsource")

# Looking through all modules, classes and schemas again and again takes a tenth of the unit tests' time.
gc.freeze()
gc.set_threshold(50_000, 20, 20)

STATE_DIR = "EVENTSOURCE_WORKER__STATE_DIR"


@pytest.fixture(scope="session", autouse=True)
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """State stores of this run's workers, in this process and in others, go where pytest cleans up."""
    before = os.environ.get(STATE_DIR)
    folder = tmp_path_factory.mktemp("state")
    os.environ[STATE_DIR] = str(folder)
    yield folder
    if before is None:
        del os.environ[STATE_DIR]
    else:
        os.environ[STATE_DIR] = before
