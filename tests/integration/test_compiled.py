"""What is compiled does what its source does: the same tests hold on both."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.compiled import NotCompiled, compiled_folder

ROOT = Path(__file__).parents[2]
ON_COMPILED = (
    "tests/compiled",
    "tests/unit",
    "tests/faults/test_kills_at_steps.py",
    "tests/integration/test_commands_owner.py",
    "tests/integration/test_commands_poisoned_topic.py",
    "tests/integration/test_commands_round_trip.py",
    "tests/integration/test_commands_state_store.py",
    "tests/integration/test_log_reader.py",
    "tests/integration/test_log_transactions.py",
)


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    try:
        folder = compiled_folder()
    except NotCompiled as reason:
        pytest.skip(str(reason))
    return {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )


def servers(stack: Any) -> dict[str, str]:
    return {
        "EVENTSOURCE_KAFKA__BOOTSTRAP_SERVERS": stack.bootstrap_servers,
        "EVENTSOURCE_POSTGRES__URL": stack.postgres_url,
    }


def test_what_runs_for_every_command_is_compiled(environment: dict[str, str]) -> None:
    told = run(environment, "-c", "from eventsource.commands import handling; print(handling.__file__)")
    assert not told.stdout.strip().endswith(".py"), told.stderr
    assert Path(told.stdout.strip()).is_relative_to(environment["PYTHONPATH"].partition(os.pathsep)[0])


def test_what_is_written_for_the_compiler_may_be_missing(environment: dict[str, str], tmp_path: Path) -> None:
    """A version of the client that it was not tried with, a library that cannot be loaded: all goes on, slower."""
    compiled = Path(environment["PYTHONPATH"].partition(os.pathsep)[0])
    shutil.copytree(compiled, tmp_path / "partly", ignore=shutil.ignore_patterns("native_*.so"))
    partly = {**environment, "PYTHONPATH": f"{tmp_path / 'partly'}{os.pathsep}{ROOT}"}
    tests = ["tests/unit/test_log_headers.py", "tests/unit/test_commands_handling.py"]
    ran = run(partly, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests)
    assert ran.returncode == 0, ran.stdout[-5_000:]


def test_the_compiled_producer_alone_may_be_missing(
    environment: dict[str, str], tmp_path: Path, eventsource_stack: Any
) -> None:
    """Beside a version of the client that it was not tried with: what others wrote in machine code is sent by the client."""
    compiled = Path(environment["PYTHONPATH"].partition(os.pathsep)[0])
    shutil.copytree(compiled, tmp_path / "partly", ignore=shutil.ignore_patterns("native_producer.*.so"))
    partly = {**environment, "PYTHONPATH": f"{tmp_path / 'partly'}{os.pathsep}{ROOT}", **servers(eventsource_stack)}
    tests = ["tests/integration/test_commands_round_trip.py", "tests/integration/test_log_transactions.py"]
    ran = run(partly, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests)
    assert ran.returncode == 0, ran.stdout[-5_000:]


def test_the_tests_hold_on_compiled_code(environment: dict[str, str], eventsource_stack: Any) -> None:
    ran = run(
        {**environment, **servers(eventsource_stack)},
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        *ON_COMPILED,
    )
    assert ran.returncode == 0, ran.stdout[-5_000:]
