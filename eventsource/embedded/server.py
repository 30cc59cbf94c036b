"""One server process: started through the launcher, recorded before it is a server, watched by the guard."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Protocol

from eventsource.embedded.folders import make_folder, open_private
from eventsource.embedded.processes import ProcessRecord, end_processes
from eventsource.errors import EmbeddedStackError

_LAUNCHER = Path(__file__).with_name("launcher.py")
_TAIL_LINES = 25
_TAIL_BYTES = 64 * 1024
_LOG_LIMIT_BYTES = 32 * 1024 * 1024
# What a server may see of our environment: not JAVA_TOOL_OPTIONS, KAFKA_*, PGPORT and the like.
_ENVIRONMENT = ("HOME", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER")


class Ledger(Protocol):
    """Who keeps the list of processes."""

    def add(self, record: ProcessRecord) -> None:
        """Called once the process exists, before it becomes a server."""

    def remove(self, record: ProcessRecord) -> None:
        """Called once the process is gone."""


class Server:
    """A command with a log file. Starting and ending go through the ledger, so that nothing is ever left unknown.

    Without a log file it writes where this process writes.
    """

    def __init__(self, name: str, log: Path | None, ledger: Ledger, *, stop_signal: int = signal.SIGTERM) -> None:
        self.name = name
        self.log = log
        self._ledger = ledger
        self._stop_signal = stop_signal
        self._process: subprocess.Popen[bytes] | None = None
        self._record: ProcessRecord | None = None
        self._asked = False
        self._log_start_bytes = 0

    def launch(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        environment: Mapping[str, str],
        launcher_options: Sequence[str] = (),
        stdout: IO[bytes] | None = None,
    ) -> None:
        """Starts the command in a session of its own, so that Ctrl-C in a terminal reaches only the supervisor.

        `stdout` is where it prints if it has no log file; by default where this process prints.
        """
        if self.is_running:
            raise EmbeddedStackError(f"{self.name} runs already: stop it first")
        self.stop(0.0)
        with self._open_log() as log:
            process = subprocess.Popen(  # noqa: S603 (our own command, no shell)
                [sys.executable, "-I", "-S", str(_LAUNCHER), *launcher_options, "--", *command],
                stdin=subprocess.PIPE,
                stdout=stdout if log is None else log,
                stderr=log,
                cwd=cwd,
                env=dict(environment),
                start_new_session=True,
            )
        self._process = process
        assert process.stdin is not None
        with process.stdin as word:
            try:
                self._record = ProcessRecord.of(process.pid, self.name, self._stop_signal)
            except ProcessLookupError as error:
                raise self.died() from error
            self._ledger.add(self._record)
            word.write(b"go\n")

    def _open_log(self) -> contextlib.AbstractContextManager[IO[bytes] | None]:
        if self.log is None:
            return contextlib.nullcontext()
        make_folder(self.log.parent)
        size = self.log.stat().st_size if self.log.exists() else 0
        if size > _LOG_LIMIT_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
            size = 0
        self._log_start_bytes = size
        return open(self.log, "ab", opener=open_private)

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs, or before it was launched; minus the signal's number if a signal ended it."""
        return None if self._process is None else self._process.poll()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def log_since_start(self) -> str:
        """The end of what the server wrote since it was launched, at most 64 KiB."""
        if self.log is None:
            return ""
        try:
            with self.log.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(self._log_start_bytes, size - _TAIL_BYTES))
                return file.read().decode("utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def died(self) -> EmbeddedStackError:
        """The error for a server that ended by itself."""
        assert self._process is not None
        return self._failure(f"ended with exit code {self._process.wait()}")

    def late(self, timeout_seconds: float) -> EmbeddedStackError:
        """The error for a server that does not answer."""
        return self._failure(f"did not answer within {timeout_seconds:g} s")

    def _failure(self, what: str) -> EmbeddedStackError:
        if self.log is None:
            return EmbeddedStackError(f"{self.name} {what}: mend what it printed")
        tail = "\n".join(f"  {line}" for line in self.log_since_start().splitlines()[-_TAIL_LINES:])
        return EmbeddedStackError(
            f"{self.name} {what}: mend what the end of its log ({self.log}) says\n{tail or '  (empty)'}"
        )

    def send(self, number: int) -> None:
        """Sends a signal; raises `EmbeddedStackError` if the server does not run."""
        if self._process is None or not self.is_running:
            raise EmbeddedStackError(f"{self.name} does not run: start it first")
        self._process.send_signal(number)

    def ask_to_stop(self) -> None:
        """Sends its stop signal, once, if it runs; `stop` then waits. A paused server sees it too."""
        if self._process is not None and self.is_running and not self._asked:
            self._asked = True
            for number in (self._stop_signal, signal.SIGCONT):
                self._process.send_signal(number)  # nothing to one that ended meanwhile, as it does between the two

    def stop(self, timeout_seconds: float, *, stop_signal: int | None = None) -> None:
        """Ends the server, by SIGKILL after the time-out, and forgets it. Does nothing if it does not run."""
        if self._process is None:
            return
        record = self._record
        if record is not None:
            wanted = record if stop_signal is None else replace(record, stop_signal=stop_signal)
            end_processes([wanted], timeout_seconds=timeout_seconds, asked_already=self._asked)
        self._process.wait()
        self._process = None
        self._asked = False
        if record is not None:
            self._ledger.remove(record)
            self._record = None


def server_environment() -> dict[str, str]:
    """The few variables that a server gets from us, with a locale that fixes the language of its messages."""
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    # Java on Linux opens no file with a name outside ASCII under the plain C locale; macOS has no C.UTF-8 and needs none.
    return {**kept, "LC_ALL": "C.UTF-8" if sys.platform == "linux" else "C"}
