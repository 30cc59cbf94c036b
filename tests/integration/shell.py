"""The command line as a shell sees it: real processes in a folder with the app that `eventsource init` writes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eventsource.testing.stack import SessionStack

PATIENCE_SECONDS = 60.0


class Shell:
    """Runs commands in a folder with an app, under the variables of one namespace."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self.folder = folder
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("EVENTSOURCE_")}
        self.environment = {
            **inherited,
            "EVENTSOURCE_WORKER__HEALTH_PORT": "0",
            "EVENTSOURCE_LOG_FORMAT": "text",
            **variables,
        }

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.run_python("-m", "eventsource", *arguments, **variables)

    def run_python(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def json(self, *arguments: str) -> Any:
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    @contextmanager
    def worker(self, *arguments: str, stdin: int = subprocess.DEVNULL) -> Iterator[WorkerProcess]:
        log = self.folder / f"worker-{time.monotonic_ns()}.log"
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "eventsource", "run", "shop:shop", "--json", *arguments],
                cwd=self.folder,
                env={**self.environment, "EVENTSOURCE_LOG_FORMAT": "auto"},
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        worker = WorkerProcess(process, log)
        try:
            yield worker
            worker.lines()
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()


class WorkerProcess:
    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    def log(self) -> str:
        return self._log.read_text()

    def lines(self) -> list[dict[str, Any]]:
        """Its log: each line is a JSON object, or this fails."""
        return [json.loads(line) for line in self.log().splitlines()]

    def error(self) -> dict[str, Any]:
        """What it ended with."""
        found: dict[str, Any] = self.lines()[-1]
        assert found["event"] == "command_failed"
        return found

    def when_ready(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log()
        ready: dict[str, Any] = json.loads(line)
        return ready

    def when_logged(self, event: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while event not in self.log():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def output(self) -> bytes:
        """What else it printed, once it ended."""
        assert self.process.stdout is not None
        return self.process.stdout.read()

    def end(self, signal_number: int = signal.SIGTERM) -> int:
        self.process.send_signal(signal_number)
        return self.process.wait(PATIENCE_SECONDS)


def shell_with_app(folder: Path, stack: SessionStack, namespace: str) -> Shell:
    """A shell in a folder that holds the app of `eventsource init`, `shop:shop`."""
    shell = Shell(folder, {**stack.environment, "EVENTSOURCE_NAMESPACE": namespace})
    made = shell.run("init")
    assert made.returncode == 0, made.stderr
    return shell


def one_sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The error of a command that failed: nothing on stdout, one line on stderr."""
    assert done.stdout == ""
    assert done.stderr.startswith("error: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.strip()
