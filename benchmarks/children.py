"""Child processes of a benchmark: each ends when its standard input does, and so with the benchmark, however that ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import psutil

ROOT: Final = Path(__file__).parents[1]
_POLL_SECONDS: Final = 0.2
_LAST_WORDS_SECONDS: Final = 1.0
_STOP_SECONDS: Final = 20.0


class ChildFailed(RuntimeError):
    """Raised when a child ended by itself, or did not say in time what was waited for."""


class Child:
    """A process that prints JSON objects, one a line, each with a key `event`. A context manager: leaving it ends the process.

    Its standard input is a pipe that nothing is written to, and that it must read: the end of it is the end of this process.
    """

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.name = name
        self._command = list(command)
        self._environment = dict(environment)
        self._said: dict[str, dict[str, Any]] = {}
        self._news = threading.Condition()

    def __enter__(self) -> Self:
        # A file and not a pipe: nobody reads it unless the child fails, and a full pipe would stop it.
        self._log: IO[str] = tempfile.TemporaryFile("a+", encoding="utf-8", errors="replace")
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            # Ctrl-C in a terminal reaches the benchmark alone, which ends its children in order.
            start_new_session=True,
        )
        threading.Thread(target=self._listen, name=f"output of {self.name}", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(_STOP_SECONDS if kind is None else 2.0)
        self._log.close()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    def end(self, timeout_seconds: float = _STOP_SECONDS) -> None:
        """Closes the child's standard input and waits for it to end; ends it by SIGKILL after the time-out."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def wait(self, timeout_seconds: float) -> None:
        """Waits for the process to end by itself. Raises `ChildFailed` when it does not in time."""
        try:
            self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            raise ChildFailed(f"{self.name} did not end within {timeout_seconds:g} s: {self.last_words()}") from None

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the process."""
        self._process.send_signal(number)

    def cpu_seconds(self) -> float:
        """The CPU time that the process has taken so far. Raises `ChildFailed` when it is gone."""
        try:
            times = psutil.Process(self.pid).cpu_times()
        except psutil.NoSuchProcess:
            self.check()
            raise
        return float(times.user + times.system)

    def check(self) -> None:
        """Raises `ChildFailed` if the process is gone, with the last lines that it wrote to stderr."""
        code = self._process.poll()
        if code is not None:
            raise ChildFailed(f"{self.name} ended with exit code {code}: {self.last_words()}")

    def heard(self, event: str, timeout_seconds: float) -> dict[str, Any] | None:
        """The object that the child printed with this `event`, waiting for it for at most so long; None if it did not.

        Raises `ChildFailed` when the process ended without it.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            was_running = self.running
            with self._news:
                # What it said last may still be on its way when it is gone.
                self._news.wait_for(lambda: event in self._said, _POLL_SECONDS if was_running else _LAST_WORDS_SECONDS)
                if event in self._said:
                    return self._said[event]
            if not was_running:
                self.check()
            if time.monotonic() > deadline:
                return None

    def wait_for(self, event: str, timeout_seconds: float) -> dict[str, Any]:
        """The same, when nothing else makes sense. Raises `ChildFailed` when it was not printed in time."""
        found = self.heard(event, timeout_seconds)
        if found is None:
            raise ChildFailed(f"{self.name} did not say {event!r} within {timeout_seconds:g} s: {self.last_words()}")
        return found

    def log_lines(self) -> list[str]:
        """What the child has written to stderr."""
        # The child shares the file's position and appends wherever that is: reading may move it.
        self._log.seek(0)
        return self._log.read().splitlines()

    def last_words(self) -> str:
        """The end of what it wrote to stderr."""
        return "\n".join(self.log_lines()[-20:]) or "it said nothing"

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                document = json.loads(line)
                with self._news:
                    self._said[document["event"]] = document
                    self._news.notify_all()


def python_child(
    name: str, module: str, arguments: Sequence[str], environment: Mapping[str, str], packages: Path | None = None
) -> Child:
    """A child that runs a Python module of this project; with `packages`, of that folder rather than of this checkout."""
    path = os.pathsep.join([str(each) for each in (packages, ROOT, os.environ.get("PYTHONPATH")) if each])
    # -P: or the child's working folder, this checkout, would stand before them all.
    return Child(
        name, [sys.executable, "-P", "-m", module, *arguments], {**os.environ, **environment, "PYTHONPATH": path}
    )


def end_with_parent() -> None:
    """Ends this process when its standard input ends: what a child does that has nothing to finish."""

    def wait() -> None:
        while os.read(0, 1024):
            pass
        os._exit(0)

    threading.Thread(target=wait, name="stdin", daemon=True).start()


def say(event: str, **values: object) -> None:
    """Tells the parent something."""
    print(json.dumps({"event": event, **values}), flush=True)
