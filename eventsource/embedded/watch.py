"""The supervisor's side of the guard process."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from eventsource.embedded.processes import ProcessRecord
from eventsource.errors import EmbeddedStackError

_GUARD = Path(__file__).with_name("guard.py")


class Guard:
    """Ends the watched processes when this process is gone. `delete`: files and folders to remove after that."""

    def __init__(self, delete: list[Path]) -> None:
        self._process = subprocess.Popen(  # noqa: S603 (our own command, no shell)
            [sys.executable, "-P", str(_GUARD), str(os.getpid()), *map(str, delete)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def watch(self, record: ProcessRecord) -> None:
        """Returns once the guard knows; raises `EmbeddedStackError` if it does not run any more."""
        self._tell(f"watch {record.pid} {record.stop_signal}\n")
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ok\n":
            raise EmbeddedStackError("the guard of the embedded stack ended: start the stack again")

    def forget(self, record: ProcessRecord) -> None:
        """From now on the guard leaves this process alone."""
        self._tell(f"forget {record.pid}\n")

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise EmbeddedStackError("the guard of the embedded stack ended: start the stack again") from error

    def close(self, *, end_watched: bool) -> None:
        """Dismisses the guard: at once, or to end what it still watches (this does not wait for it)."""
        if not end_watched:
            self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                # Closing flushes; a guard that is gone has nothing it should still hear.
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        if not end_watched:
            self._process.wait()
