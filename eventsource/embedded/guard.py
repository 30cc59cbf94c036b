"""Ends the servers when their supervisor is gone, however it went. Run as a script, by path: it must stay small.

It reads lines on standard input, a pipe that only the supervisor writes to: `watch PID SIGNAL`, answered by `ok`, and
`forget PID`. When the pipe ends, or its parent is not the supervisor any more (a forked child may hold the pipe open), it
sends each watched process its signal, SIGKILL ten seconds later, and deletes what it was told to.

PR_SET_PDEATHSIG would do this on Linux alone, and fires when the *thread* that started the server ends.

usage: guard.py SUPERVISOR_PID [DELETE_PATH]…
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import time
from pathlib import Path

import psutil

_GRACE_SECONDS = 10.0
_POLL_SECONDS = 1.0
_WAIT_SECONDS = 0.05


def main(arguments: list[str]) -> None:
    """Watches until the supervisor is gone."""
    # Ctrl-C in a terminal and `kill` of a process group are for the supervisor, which then stops the servers itself.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    supervisor, *delete = int(arguments[0]), *map(Path, arguments[1:])
    watched: dict[int, tuple[psutil.Process, int]] = {}
    buffer = b""
    while True:
        if not select.select([0], [], [], _POLL_SECONDS)[0]:
            # Only once all that it said is read: its last word may have been `forget`.
            if os.getppid() != supervisor:
                break
            continue
        received = os.read(0, 4096)
        if not received:
            break
        *lines, buffer = (buffer + received).split(b"\n")
        for line in lines:
            obey(line.split(), watched)
    end([*watched.values()])
    for path in delete:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def obey(words: list[bytes], watched: dict[int, tuple[psutil.Process, int]]) -> None:
    """Does what one line says."""
    pid = int(words[1])
    if words[0] == b"forget":
        watched.pop(pid, None)
        return
    try:
        watched[pid] = (psutil.Process(pid), int(words[2]))
    except psutil.NoSuchProcess:
        watched.pop(pid, None)
    with contextlib.suppress(BrokenPipeError):
        os.write(1, b"ok\n")


def end(watched: list[tuple[psutil.Process, int]]) -> None:
    """Ends what still runs. psutil refuses to signal a process that merely has the id of a watched one."""
    for process, number in watched:
        send(process, number)
        send(process, signal.SIGCONT)
    processes = [process for process, _ in watched]
    if not wait(processes):
        for process in processes:
            send(process, signal.SIGKILL)
        wait(processes)


def wait(processes: list[psutil.Process]) -> bool:
    """Whether all ended in time. A zombie has: in a container without an init nobody ever collects it."""
    deadline = time.monotonic() + _GRACE_SECONDS
    while any(runs(process) for process in processes):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_WAIT_SECONDS)
    return True


def runs(process: psutil.Process) -> bool:
    """Whether it is still there and no zombie."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def send(process: psutil.Process, number: int) -> None:
    """Signals a process, if it is still there."""
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


if __name__ == "__main__":
    main(sys.argv[1:])
