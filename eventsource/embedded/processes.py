"""Processes by id *and* start time: a pid alone may by now belong to somebody else."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eventsource.errors import EmbeddedStackError, EmbeddedStackMisused

try:
    import psutil
except ModuleNotFoundError as error:
    raise EmbeddedStackMisused(
        "the embedded stack needs more packages: pip install 'eventsource-kafka[embedded]'"
    ) from error

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_POLL_SECONDS = 0.02


def start_mark(pid: int) -> str | None:
    """What tells the process with this id from every other that ever had or will have it; None if there is none."""
    try:
        if sys.platform == "linux":
            # Ticks since boot, not psutil's wall-clock time: that one moves whenever the clock is set.
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
            if fields[0] == b"Z":
                return None
            return f"{_BOOT_ID.read_text().strip()}/{int(fields[19])}"
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return f"{process.create_time():.3f}"
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return None


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """A process as it is written down: `start_mark` must match before anything is done to `pid`."""

    name: str
    pid: int
    start_mark: str
    stop_signal: int = signal.SIGTERM

    @classmethod
    def of(cls, pid: int, name: str, stop_signal: int = signal.SIGTERM) -> ProcessRecord:
        """Raises `ProcessLookupError` if there is no such process."""
        mark = start_mark(pid)
        if mark is None:
            raise ProcessLookupError(f"no process {pid} ({name})")
        return cls(name, pid, mark, int(stop_signal))

    @property
    def is_alive(self) -> bool:
        return start_mark(self.pid) == self.start_mark


def end_processes(
    records: Sequence[ProcessRecord], *, timeout_seconds: float, asked_already: bool = False
) -> list[ProcessRecord]:
    """Ends those of `records` that still are what was recorded: by their own signal first, by SIGKILL after the time-out.

    `asked_already`: they have had their signal; to a worker a second one says to leave at once. Returns the ones that were
    alive. Raises `EmbeddedStackError` if one cannot be ended.
    """
    alive = [record for record in records if record.is_alive]
    descendants = [child for record in alive for child in _children(record)]
    for record in alive:
        if not asked_already:
            _signal(record, record.stop_signal)
        # A paused process sees the signal only once it runs again.
        _signal(record, signal.SIGCONT)
    if not _wait(alive, timeout_seconds):
        for record in alive:
            _signal(record, signal.SIGKILL)
        if not _wait(alive, 10.0):
            names = ", ".join(f"{record.name} (pid {record.pid})" for record in alive if record.is_alive)
            raise EmbeddedStackError(f"cannot end {names}: end it by hand, then start again")
    # Postgres's own children leave with their postmaster, unless it was killed and they are stuck.
    if not _wait(descendants, 5.0):
        for child in descendants:
            _signal(child, signal.SIGKILL)
    return alive


def _children(record: ProcessRecord) -> list[ProcessRecord]:
    found: list[ProcessRecord] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(record.pid).children(recursive=True):
            with contextlib.suppress(ProcessLookupError):
                found.append(ProcessRecord.of(child.pid, f"child of {record.name}"))
    return found


def _signal(record: ProcessRecord, number: int) -> None:
    if not record.is_alive:
        return
    try:
        psutil.Process(record.pid).send_signal(number)
    except psutil.NoSuchProcess:
        return
    except psutil.AccessDenied as error:
        raise EmbeddedStackError(
            f"{record.name} (pid {record.pid}) belongs to another user: end it by hand, then start again"
        ) from error


def _wait(records: Sequence[ProcessRecord], timeout_seconds: float) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while any(record.is_alive for record in records):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
