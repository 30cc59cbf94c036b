"""`eventsource run` of the app of parts, as a process."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from eventsource.settings import Settings

ROOT = Path(__file__).parents[3]


class RunProcess:
    """`eventsource run` of the app, its log in a file."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._log = folder / f"{time.monotonic_ns()}.log"
        environment = {
            **os.environ,
            "EVENTSOURCE_NAMESPACE": settings.namespace,
            "EVENTSOURCE_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
            "EVENTSOURCE_POSTGRES__URL": settings.postgres.url,
            "EVENTSOURCE_WORKER__HEALTH_PORT": "0",
            "EVENTSOURCE_LOG_FORMAT": "json",
            "PYTHONPATH": str(ROOT),
        }
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
