"""A worker of the bank in a process of its own, which ends with the process that started it, however that ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

from eventsource.clock import Clock
from eventsource.errors import EventSourceError

_STOP_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.05
_UNAVAILABLE: Final = 3


class WorkerEnded(EventSourceError):
    """Raised when the worker process ended, or never began to work. Import again: nothing is done twice.

    `exit_code` is what a script that started the worker itself would have seen; 3 when a signal ended it.
    """

    def __init__(self, problem: str, exit_code: int) -> None:
        super().__init__(f"{problem}; what was accepted stays accepted: import again, and nothing is done twice")
        self.exit_code = exit_code


class WorkerProcess:
    """`python -m eventsource run examples.bank:bank` as a child. A context manager: leaving it drains the worker."""

    def __init__(self, environment: Mapping[str, str], *, clock: Clock, only: Sequence[str] = ()) -> None:
        self._environment = dict(environment)
        self._clock = clock
        self._only = only
        self._ready: dict[str, Any] | None = None

    def __enter__(self) -> Self:
        chosen = [word for name in self._only for word in ("--only", name)]
        # A file and not a pipe: nobody reads it unless the worker fails, and a full pipe would stop it. Opened to append, since the
        # child shares its place in it, and reading moves that.
        self._log = tempfile.TemporaryFile("a+", encoding="utf-8", errors="replace")
        # Standard input is a pipe that nothing is written to. It closes when this process ends, be it by SIGKILL.
        self._process = subprocess.Popen(  # noqa: S603 - of our own words
            [
                *(sys.executable, "-m", "eventsource", "--log-level", "warning", "run", "examples.bank:bank"),
                *("--json", "--health-port", "0", "--until-stdin-closes", *chosen),
            ],
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        threading.Thread(target=self._read_stdout, name="worker output", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def check(self) -> None:
        """Raises `WorkerEnded` if the worker is gone, with what it said last."""
        code = self._process.poll()
        if code is None:
            return
        if code < 0:
            raise WorkerEnded(f"the worker process {self.pid} was ended by {signal.Signals(-code).name}", _UNAVAILABLE)
        raise WorkerEnded(
            f"the worker process {self.pid} ended with exit code {code} ({self._last_words()})", code or _UNAVAILABLE
        )

    def wait_until_ready(self, timeout_seconds: float) -> None:
        """Blocks until every part of the worker has its partitions. Raises `WorkerEnded` when it ends, or is not ready in time."""
        deadline = self._clock.monotonic() + timeout_seconds
        while self._ready is None:
            self.check()
            if self._clock.monotonic() > deadline:
                raise WorkerEnded(
                    f"the worker process {self.pid} was not ready within {timeout_seconds:g} s ({self._last_words()})",
                    _UNAVAILABLE,
                )
            threading.Event().wait(_POLL_SECONDS)

    def _read_stdout(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                document = json.loads(line)
                if document.get("event") == "ready":
                    self._ready = document

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = [line.strip() for line in self._log if line.strip()]
        # Where stderr is no terminal, the command writes its error as a JSON object.
        errors = [json.loads(line)["message"] for line in lines if '"event": "command_failed"' in line]
        return str((errors or lines or ["it said nothing"])[-1])
