from __future__ import annotations

import signal
import subprocess
from typing import Any, cast

from eventsource.embedded.server import Server


class EndsAtOnce:
    """As a `subprocess.Popen` whose process ends of the first signal, before anybody looks again."""

    def __init__(self) -> None:
        self.sent: list[int] = []

    def poll(self) -> int | None:
        return 0 if self.sent else None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:  # as Popen does
            self.sent.append(number)


class NoLedger:
    def add(self, record: Any) -> None:
        """Nothing is kept."""

    def remove(self, record: Any) -> None:
        """Nothing is kept."""


def test_a_server_that_ends_while_it_is_asked_to_is_no_error() -> None:
    server, process = Server("Postgres", None, NoLedger(), stop_signal=signal.SIGINT), EndsAtOnce()
    server._process = cast("subprocess.Popen[bytes]", process)
    server.ask_to_stop()
    server.ask_to_stop()
    assert process.sent == [signal.SIGINT]
