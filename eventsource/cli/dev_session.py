"""What `eventsource dev` does once the servers answer: run the app's workers, follow logs, restart on changes."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

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
_WORKERS = "workers"


class DevSession:
    """One run. The app's processes are attached to the stack: they are stopped with it and before it."""

    def __init__(
        self,
        stack: EmbeddedStack,
        reference: str | None,
        *,
        reload: bool,
        logs: bool,
        stdout_is_data: bool,
        root: Path,
    ) -> None:
        self._stack = stack
        self._reference = reference
        self._reload = reload
        self._root = root
        self._stdout: IO[bytes] | None = sys.stderr.buffer if stdout_is_data else None
        self._child: Server | None = None
        self._followers = []
        if logs:
            self._followers = [LogFollower(path, path.stem) for path in (*stack.kafka_logs, stack.postgres_log)]

    def run(self) -> int:
        """Returns an exit code: that of workers which ended by themselves. Otherwise it goes on until it is interrupted.

        Raises `EmbeddedStackError` when a server ends by itself.
        """
        watch = SourceWatch(self._root) if self._reload else None
        try:
            if self._reference is not None:
                self._start(_TOPICS)
            while True:
                self._stack.check()
                self._print_logs()
                code = self._look_after_child()
                if code is not None and watch is None:
                    return code
                if watch is not None and watch.changed():
                    self._restart()
                time.sleep(_POLL_SECONDS)
        finally:
            self._print_logs()
            if watch is not None:
                watch.close()

    def _start(self, name: str) -> None:
        assert self._reference is not None
        words = ["topics", "apply", self._reference] if name == _TOPICS else ["run", self._reference]
        stack = self._stack
        servers = stack_environment(stack.bootstrap_servers, stack.postgres_url, stack.stores_dir)
        environment = {**os.environ, **servers}
        self._child = self._stack.attach(name)
        self._child.launch(
            [sys.executable, "-m", "eventsource", *words],
            cwd=self._root,
            environment=environment,
            stdout=self._stdout,
        )

    def _look_after_child(self) -> int | None:
        """After the topics come the workers. Returns the exit code of a process that ended and has no successor."""
        child = self._child
        if child is None or child.is_running:
            return None
        code = child.exit_code
        assert code is not None
        self._dismiss(child)
        if child.name == _TOPICS and code == OK:
            self._start(_WORKERS)
            return None
        # As a shell has it: 128 and the number of the signal that ended it.
        code = 128 - code if code < 0 else code
        note(f"{child.name} ended with exit code {code}" + ("; waiting for a change" if self._reload else ""))
        return code

    def _restart(self) -> None:
        note("a file changed: restarting the workers")
        if self._child is not None:
            self._dismiss(self._child)
        self._start(_TOPICS)

    def _dismiss(self, child: Server) -> None:
        self._stack.detach(child, timeout_seconds=_DRAIN_SECONDS)
        self._child = None

    def _print_logs(self) -> None:
        for follower in self._followers:
            for line in follower.new_lines():
                note(line)
