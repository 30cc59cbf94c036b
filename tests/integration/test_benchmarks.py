"""Every benchmark once with tiny numbers, as a user runs it: a process of its own, on servers of its own.

Without Java on the PATH, so that nothing is compiled or downloaded, and what needs it must say so.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

RUN_SECONDS = 180.0
STOP_SECONDS = 60.0
Figures = Mapping[str, Any]


@pytest.fixture
def root(request: pytest.FixtureRequest) -> Path:
    return request.config.rootpath


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EVENTSOURCE_")}
    return {**kept, "PATH": str(tmp_path)}


def run(root: Path, environment: Mapping[str, str], name: str, *arguments: str) -> Figures:
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *arguments, "--json"],
        check=False,
        cwd=root,
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 1
    figures: Figures = json.loads(lines[-1])
    return figures


def test_throughput_is_measured_and_a_missing_peer_is_null(root: Path, environment: dict[str, str]) -> None:
    sizes = ["--commands", "3000", "--hot-commands", "1000", "--aggregates", "100", "--pairs", "1"]
    figures = run(root, environment, "commands", *sizes)
    assert figures["commands_per_second"] > 0
    assert figures["hot_commands_per_second"] > 0
    assert figures["hot_share"] > 0
    assert figures["kafka_streams_per_second"] is None
    assert figures["ratio"] is None
    assert figures["kafka_streams"] == "not measured: java is not on the PATH"


def test_latency_is_measured_beside_its_floor(root: Path, environment: dict[str, str]) -> None:
    figures = run(
        root, environment, "latency", "--rate", "100", "--seconds", "2", "--rounds", "1", "--warm-up-rounds", "1"
    )
    assert (
        0 < figures["floor_p50_ms"] < figures["p50_ms"] <= figures["p90_ms"] <= figures["p99_ms"] <= figures["p999_ms"]
    )
    assert figures["kafka_streams_p50_ms"] is None


def test_take_overs_are_measured_at_every_size(root: Path, environment: dict[str, str]) -> None:
    figures = run(root, environment, "takeover", "--events", "2000", "1000", "--rounds", "1")
    assert figures["events"] == 2_000
    for suffix in ("", "_1000"):
        assert figures[f"killed_seconds{suffix}"] > 0
        assert figures[f"terminated_seconds{suffix}"] > 0
        assert figures[f"replayed_per_second_without_state{suffix}"] > 0


def test_memory_is_measured(root: Path, environment: dict[str, str]) -> None:
    figures = run(root, environment, "memory", "--commands", "3000", "--aggregates", "1000")
    assert figures["rss_peak_mb"] > 10


def test_growth_is_measured(root: Path, environment: dict[str, str]) -> None:
    figures = run(root, environment, "soak", "--minutes", "0.1", "--rate", "50")
    assert figures["rss_peak_mb"] >= figures["rss_end_mb"] > 10


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_everything_ends_with_a_benchmark_that_is_interrupted(
    root: Path, environment: dict[str, str], number: signal.Signals
) -> None:
    command = [sys.executable, "-m", "benchmarks.soak", "--minutes", "5"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=root, env=environment, stdout=log, stderr=log)
        try:
            children = _wait_for_client(process)
            process.send_signal(number)
            assert process.wait(STOP_SECONDS) == 130
            _gone, alive = psutil.wait_procs(children, timeout=STOP_SECONDS)
            assert alive == []
        finally:
            process.kill()
            process.wait()


def _wait_for_client(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Waits until servers, worker and client run; returns all of them."""
    deadline = time.monotonic() + RUN_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None
        children = psutil.Process(process.pid).children(recursive=True)
        if any("benchmarks.latency_client" in " ".join(_command(child)) for child in children):
            return children
        time.sleep(0.2)
    raise AssertionError("the benchmark started no client")


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []
