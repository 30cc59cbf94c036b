"""An outage of the only broker: what a worker with many owners logs meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventsource.embedded import EmbeddedStack
from eventsource.log.topics import apply
from eventsource.settings import KafkaSettings, PostgresSettings, Settings
from tests.integration.worker.parts_app import Add, Total, parts
from tests.integration.worker.run_process import RunProcess
from tests.integration.worker.running import until
from tests.sweeps import Sweep

pytestmark = pytest.mark.faults


@pytest.fixture
def stack() -> Iterator[EmbeddedStack]:
    """Servers of its own: nobody else's broker is killed."""
    with EmbeddedStack.ephemeral() as started:
        yield started


def test_an_outage_is_one_line_a_minute(stack: EmbeddedStack, tmp_path: Path, sweep: Sweep) -> None:
    settings = Settings(
        _env_file=None,
        namespace="outage",
        kafka=KafkaSettings(bootstrap_servers=stack.bootstrap_servers),
        postgres=PostgresSettings(url=stack.postgres_url),
    )
    apply(parts, settings)
    worker = RunProcess(tmp_path, settings)
    try:
        worker.when_ready()
        with parts.connect(settings) as client:
            for number in range(20):
                client.send(Total, f"t{number}", Add(amount=1))
            until(lambda: "partitions_taken_over" in worker.events(), "the start to be logged")
            before = len(worker.lines())
            began = time.monotonic()
            stack.kill_broker(1)
            until(lambda: len(worker.lines()) > before, "the outage to be noticed")
            # Longer than sessions, transactions and requests may take: all of them fail.
            seconds = sweep.times(20, 180)
            until(lambda: time.monotonic() - began > seconds, "the outage to last", seconds + 60)
            during = worker.lines()[before:]
            stack.start_broker(1)
            receipt = client.send(Total, "t0", Add(amount=1), timeout=120)
            assert receipt.version == 2
        lasted = time.monotonic() - began
        assert len(during) <= 1 + seconds // 60, during
        assert {line["about"] for line in during} == {"kafka"}
        # What follows the outage says that partitions were taken over, and nothing else that is not about it.
        after = worker.lines()[before:]
        about_it = [line for line in after if line.get("about") == "kafka"]
        assert len(about_it) <= 1 + lasted // 60, about_it
        others = {line["event"] for line in after} - {line["event"] for line in about_it}
        assert others <= {"partitions_taken_over", "group_without_progress", "group_makes_progress"}, after
        assert worker.end() == 0
    finally:
        worker.close()
