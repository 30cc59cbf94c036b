"""`eventsource run` as a process: how much it logs, and what strangers can take from it."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from eventsource.log.topics import apply
from eventsource.settings import Settings
from tests.integration.worker.parts_app import Add, Total, parts
from tests.integration.worker.run_process import RunProcess
from tests.integration.worker.running import until

PARTITIONS = 24
SPARE_DESCRIPTORS = 300


@pytest.fixture
def run(settings: Settings, tmp_path: Path) -> Iterator[Callable[..., RunProcess]]:
    apply(parts, settings)
    with ExitStack() as started:

        def start() -> RunProcess:
            process = RunProcess(tmp_path, settings)
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
