"""What `eventsource dev` does once the servers answer: run the app's workers, follow logs, restart on changes.

The app's steps are processes, one after the other: topics are applied, what changed is rebuilt if that was asked for, workers run.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, NoReturn

from eventsource.cli import dev_rebuild
from eventsource.cli.exit_codes import OK
from eventsource.cli.follow import LogFollower
from eventsource.cli.output import note
from eventsource.cli.source_watch import SourceWatch
from eventsource.testing.stack import stack_environment

if TYPE_CHECKING:
    from eventsource.embedded import EmbeddedStack
    from eventsource.embedded.server import Server

_POLL_SECONDS = 0.2
_DRAIN_SECONDS = 30.0
_TOPICS = "topics apply"
_REBUILD = "rebuild"
_WORKERS = "workers"
_COMMANDS: Final = {_TOPICS: ("topics", "apply"), _REBUILD: (dev_rebuild.VERB,), _WORKERS: ("run",)}


class DevSession:
    """One run. The app's processes are attached to the stack: they are stopped with it and before it."""

    def __init__(
        self,
        stack: EmbeddedStack,
        reference: str | None,
        *,
        reload: bool,
        rebuild: bool,
        logs: bool,
        stdout_is_data: bool,
        root: Path,
    ) -> None:
        self._stack = stack
        self._reference = reference
        self._reload = reload
        self._root = root
        self._steps = [_TOPICS, _REBUILD, _WORKERS] if rebuild else [_TOPICS, _WORKERS]
        self._output = _Notes() if stdout_is_data else None
        self._child: Server | None = None
        self._followers = []
        if logs:
            self._followers = [LogFollower(path, path.stem) for path in (*stack.kafka_logs, stack.postgres_log)]

    def run(self) -> NoReturn:
        """Goes on until it is interrupted, also when the app's processes ended by themselves.

        Raises `EmbeddedStackError` when a server ends by itself.
        """
        watch = SourceWatch(self._root) if self._reload else None
        try:
            if self._reference is not None:
                self._start(self._steps[0])
            while True:
                self._stack.check()
                self._print_logs()
                self._look_after_child()
                if watch is not None and watch.changed():
                    self._restart()
                time.sleep(_POLL_SECONDS)
        finally:
            self._print_logs()
            if watch is not None:
                watch.close()

    def _start(self, name: str) -> None:
        assert self._reference is not None
        stack = self._stack
        servers = stack_environment(stack.bootstrap_servers, stack.postgres_url, stack.stores_dir)
        environment = {**os.environ, **servers}
        self._child = self._stack.attach(name)
        self._child.launch(
            [sys.executable, "-m", "eventsource", *_COMMANDS[name], self._reference],
            cwd=self._root,
            environment=environment,
            stdout=None if self._output is None else self._output.file,
        )

    def _look_after_child(self) -> None:
        """Starts the next step after one that succeeded; says what becomes of one that did not."""
        child = self._child
        if child is None or child.is_running:
            return
        code = child.exit_code
        assert code is not None
        self._dismiss(child)
        if code == OK and child.name != _WORKERS:
            self._start(self._steps[self._steps.index(child.name) + 1])
            return
        # As a shell has it: 128 and the number of the signal that ended it.
        code = 128 - code if code < 0 else code
        remedy = (
            "waiting for a change"
            if self._reload
            else f"start the workers with `eventsource run {self._reference}` in another terminal, or begin again after Ctrl-C"
        )
        note(f"{child.name} ended with exit code {code}, Kafka and Postgres go on: {remedy}")

    def _restart(self) -> None:
        note("a file changed: restarting the workers")
        if self._child is not None:
            self._dismiss(self._child)
        self._start(self._steps[0])

    def _dismiss(self, child: Server) -> None:
        self._stack.detach(child, timeout_seconds=_DRAIN_SECONDS)
        self._child = None

    def _print_logs(self) -> None:
        for follower in self._followers:
            for line in follower.new_lines():
                note(line)


class _Notes:
    """Takes what a child prints on its stdout where that of this process is data, and prints it on stderr line by line."""

    def __init__(self) -> None:
        reader, writer = os.pipe()
        self.file: IO[bytes] = os.fdopen(writer, "wb")
        self._reader = os.fdopen(reader, encoding="utf-8", errors="replace")
        threading.Thread(target=self._print, name="output of the workers", daemon=True).start()

    def _print(self) -> None:
        for line in self._reader:
            note(line.rstrip("\n"))
