"""A lock between processes that the kernel releases when its holder dies, however it dies."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from eventsource.errors import EmbeddedStackError, EmbeddedStackMisused

try:
    import fcntl
except ModuleNotFoundError as error:
    raise EmbeddedStackMisused(
        "the embedded stack runs on Linux and macOS: on Windows use WSL 2, or servers of your own"
    ) from error

_RETRY_SECONDS = 0.05


class FileLock:
    """`flock(2)` on one file: exclusive between processes, and between two instances in one process.

    The file itself stays: removing it would let two holders lock two files of one name.
    """

    def __init__(self, path: Path, *, timeout_seconds: float, what: str) -> None:
        self._path = path
        self._timeout_seconds = timeout_seconds
        self._what = what
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        """Raises `EmbeddedStackError` if the file cannot be made, or another process holds the lock for too long."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise EmbeddedStackMisused(
                f"cannot write {self._path} ({error.strerror}): choose another folder"
            ) from error
        try:
            self._acquire(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return self

    def _acquire(self, descriptor: int) -> None:
        deadline = time.monotonic() + self._timeout_seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    raise EmbeddedStackError(
                        f"another process has been {self._what} for more than {self._timeout_seconds:g} s "
                        f"(it holds {self._path}): wait until it is done, or end it"
                    ) from error
                time.sleep(_RETRY_SECONDS)
            else:
                return

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
