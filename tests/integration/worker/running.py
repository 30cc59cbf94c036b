"""A whole worker in a thread of the test, with its health pages."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable
from typing import Any

from eventsource.app import App
from eventsource.health import HealthServer
from eventsource.settings import Settings
from eventsource.worker import Worker

PATIENCE_SECONDS = 60.0


def until(check: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
    """The first true result of `check`."""
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.05)
    return found


class RunningWorker:
    """A worker in a thread. As a context, it is stopped at the end."""

    def __init__(self, app: App, settings: Settings, **options: Any) -> None:
        self.worker = Worker(app, settings, **options)
        self.error: BaseException | None = None
        self.was_ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="worker")
        self._health = HealthServer("127.0.0.1", 0, self.worker)

    def start(self) -> RunningWorker:
        self._thread.start()
        return self

    def _run(self) -> None:
        try:
            self.worker.run(self.was_ready.set)
        except BaseException as error:  # noqa: BLE001 - for the test to look at
            self.error = error

    def get(self, page: str) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection("127.0.0.1", self._health.port, timeout=5)
        try:
            connection.request("GET", page)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def stop(self) -> None:
        self.worker.stop()
        self._thread.join(PATIENCE_SECONDS)
        self._health.close()
        assert not self._thread.is_alive()
