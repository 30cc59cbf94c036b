"""`eventsource run` as a process: how much it logs, and what strangers can take from it."""

from __future__ import annotations

import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from eventsource.log.topics import apply
from eventsource.settings import Settings
from tests.integration.worker.parts_app import Add, Total, parts
from tests.integration.worker.running import until

ROOT = Path(__file__).parents[3]
PARTITIONS = 24
SPARE_DESCRIPTORS = 300


class RunProcess:
    """`eventsource run` of the app, its log in a file."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._log = folder / f"{time.monotonic_ns()}.log"
        with self._log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "eventsource", "run", "tests.integration.worker.parts_app:parts", "--json"],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )

    def when_ready(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self._log.read_text()
        ready: dict[str, Any] = json.loads(line)
        return ready

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def leave_descriptors(self, count: int) -> None:
        """Lets the process open no more than so many files beyond those that it has open."""
        used = len([*Path(f"/proc/{self.process.pid}/fd").iterdir()])
        resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (used + count, used + count))

    def events(self) -> list[str]:
        return [line["event"] for line in self.lines()]

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


@pytest.fixture
def run(settings: Settings, tmp_path: Path) -> Iterator[Callable[..., RunProcess]]:
    apply(parts, settings)
    environment = {
        **os.environ,
        "EVENTSOURCE_NAMESPACE": settings.namespace,
        "EVENTSOURCE_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "EVENTSOURCE_POSTGRES__URL": settings.postgres.url,
        "EVENTSOURCE_WORKER__HEALTH_PORT": "0",
        "EVENTSOURCE_LOG_FORMAT": "json",
        "PYTHONPATH": str(ROOT),
    }
    with ExitStack() as started:

        def start() -> RunProcess:
            process = RunProcess(tmp_path, environment)
            started.callback(process.close)
            return process

        yield start


def test_a_start_is_under_ten_lines_and_nothing_normal_is_a_warning(run: Callable[..., RunProcess]) -> None:
    first = run()
    first.when_ready()
    until(lambda: "partitions_taken_over" in first.events(), "the take-overs to be logged")
    lines = first.lines()
    assert len(lines) < 10
    (taken,) = [line for line in lines if line["event"] == "partitions_taken_over"]
    assert taken["count"] == PARTITIONS
    assert taken["partitions"] == {"total": "0-7", "job": "0-7", "task": "0-7"}

    second = run()
    second.when_ready()
    assert second.end() == 0
    until(
        lambda: [line.get("count") for line in first.lines() if line["event"] == "partitions_taken_over"][1:],
        "the first to take over what the second gave up",
    )
    assert first.end() == 0
    for process in (first, second):
        assert {line["level"] for line in process.lines()} == {"info"}, process.lines()
    assert len(second.lines()) < 10


def test_2_000_idle_connections_on_the_health_port_leave_commands_and_pages_at_work(
    run: Callable[..., RunProcess], settings: Settings
) -> None:
    worker = run()
    port = urlsplit(worker.when_ready()["health_url"]).port
    assert port is not None
    worker.leave_descriptors(SPARE_DESCRIPTORS)
    with ExitStack() as idle, parts.connect(settings) as client:
        for _ in range(2_000):
            idle.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
        for number in range(20):
            assert client.send(Total, f"t{number}", Add(amount=1)).version == 1
        for page in ("/live", "/ready"):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", page)
            assert connection.getresponse().status == 200
            connection.close()
    assert worker.end() == 0
    assert {line["level"] for line in worker.lines()} == {"info"}, worker.lines()
