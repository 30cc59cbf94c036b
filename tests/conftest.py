"""What holds for every test: examples enough to find a mistake, no time limit on a busy machine, and seeds that can be repeated."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.sweeps import SEED_VARIABLE, SEEDS_VARIABLE, Sweep

# Looking through all modules, classes and schemas again and again takes a tenth of the unit tests' time.
gc.freeze()
gc.set_threshold(50_000, 20, 20)

STATE_DIR = "EVENTSOURCE_WORKER__STATE_DIR"
_SWEEP = pytest.StashKey[Sweep]()


def pytest_configure(config: pytest.Config) -> None:
    sweep = config.stash[_SWEEP] = Sweep.from_environment()
    settings.register_profile("eventsource", max_examples=sweep.examples, deadline=None)
    settings.load_profile("eventsource")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    runs = metafunc.config.stash[_SWEEP].runs
    if "seed_number" in metafunc.fixturenames and runs > 1:
        metafunc.parametrize("seed_number", range(runs), ids=lambda number: f"seed{number}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.stash[_SWEEP].long:
        return
    for item in items:
        if item.get_closest_marker("sweep") is not None:
            item.add_marker(pytest.mark.skip(reason="a long sweep: `make faults` runs it"))


@pytest.fixture(scope="session")
def sweep(request: pytest.FixtureRequest) -> Sweep:
    """How long this run may take."""
    return request.config.stash[_SWEEP]


@pytest.fixture
def seed_number() -> int:
    """Which of a sweep's seeds it is."""
    return 0


@pytest.fixture
def seed(sweep: Sweep, seed_number: int) -> int:
    """Drawn for each test and printed; EVENTSOURCE_FAULTS_SEED repeats a run."""
    drawn = sweep.draw()
    print(f"{SEED_VARIABLE}={drawn}")
    return drawn


@pytest.fixture(scope="session", autouse=True)
def no_foreign_settings() -> None:
    """A worker refuses a variable that is no setting, and the tests' workers inherit this process's."""
    for name in (SEED_VARIABLE, SEEDS_VARIABLE):
        os.environ.pop(name, None)


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
