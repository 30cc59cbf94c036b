"""Ending recorded processes, and nothing that merely has the id of one."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from eventsource.embedded.claim import Claim
from eventsource.embedded.ephemeral import EphemeralFolders, remove_folder
from eventsource.embedded.file_lock import FileLock
from eventsource.embedded.ports import is_free
from eventsource.embedded.postgres import remove_stale_lock
from eventsource.embedded.processes import ProcessRecord, end_processes
from eventsource.embedded.record import StackRecord
from eventsource.embedded.server import Server, server_environment
from eventsource.embedded.watch import Guard
from eventsource.errors import EmbeddedStackError

SLEEP = "import time; time.sleep(600)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"
HOLD = "import socket as k, sys; s = k.create_server(('0.0.0.0', 0)); print(s.getsockname()[1], flush=True); sys.stdin.read()"


def wait_until(holds: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", SLEEP])
    yield process
    process.kill()
    process.wait()


def test_a_recorded_process_is_ended(sleeper: subprocess.Popen[bytes]) -> None:
    record = ProcessRecord.of(sleeper.pid, "sleeper")
    assert end_processes([record], timeout_seconds=10) == [record]
    assert sleeper.wait(10) == -signal.SIGTERM


def test_a_process_that_merely_has_a_recorded_id_is_left_alone(sleeper: subprocess.Popen[bytes]) -> None:
    record = replace(ProcessRecord.of(sleeper.pid, "sleeper"), start_mark="another boot/1")
    assert not record.is_alive
    assert end_processes([record], timeout_seconds=1) == []
    assert sleeper.poll() is None


def test_a_process_that_ignores_its_signal_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        end_processes([ProcessRecord.of(process.pid, "deaf")], timeout_seconds=0.1)
        assert process.wait(10) == -signal.SIGKILL


def test_a_paused_process_is_ended_in_order(sleeper: subprocess.Popen[bytes]) -> None:
    sleeper.send_signal(signal.SIGSTOP)
    end_processes([ProcessRecord.of(sleeper.pid, "sleeper")], timeout_seconds=10)
    assert sleeper.wait(10) == -signal.SIGTERM


def test_a_dead_child_that_nobody_waited_for_does_not_count_as_alive() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
    with pytest.raises(ProcessLookupError):
        ProcessRecord.of(process.pid, "zombie")
    process.wait()


def test_a_lock_is_held_by_one_and_released_by_death(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from eventsource.embedded.file_lock import FileLock\n"
        "with FileLock(Path(sys.argv[1]), timeout_seconds=0, what='x'): print(flush=True); sys.stdin.read()"
    )
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with (
            pytest.raises(EmbeddedStackError, match="another process has been downloading"),
            FileLock(path, timeout_seconds=0.1, what="downloading"),
        ):
            pass
        holder.kill()
        holder.wait()
        with FileLock(path, timeout_seconds=0, what="downloading"):
            pass


def test_a_port_with_a_listener_on_any_interface_is_not_free() -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        port = int(holder.stdout.readline())
        assert not is_free(port)
        holder.kill()
        holder.wait()
        assert is_free(port)


# --- the launcher and the guard ----------------------------------------------------------------------------------


class Ledger:
    def __init__(self) -> None:
        self.records: list[ProcessRecord] = []

    def add(self, record: ProcessRecord) -> None:
        self.records.append(record)

    def remove(self, record: ProcessRecord) -> None:
        self.records.remove(record)


def test_a_server_is_recorded_before_it_runs_and_forgotten_after(tmp_path: Path) -> None:
    class Watching(Ledger):
        def add(self, record: ProcessRecord) -> None:
            super().add(record)
            assert not (tmp_path / "ran").exists()

    ledger = Watching()
    server = Server("thing", tmp_path / "thing.log", ledger)
    code = f"open({str(tmp_path / 'ran')!r}, 'w').close(); {SLEEP}"
    server.launch([sys.executable, "-c", code], cwd=tmp_path, environment=server_environment())
    assert [record.pid for record in ledger.records] == [server.pid]
    assert ledger.records[0].is_alive
    server.stop(10)
    assert ledger.records == []


def test_a_server_never_runs_if_it_could_not_be_recorded(tmp_path: Path) -> None:
    class Broken(Ledger):
        def add(self, record: ProcessRecord) -> None:
            raise OSError("disk full")

    server = Server("thing", tmp_path / "thing.log", Broken())
    code = f"open({str(tmp_path / 'ran')!r}, 'w').close()"
    with pytest.raises(OSError, match="disk full"):
        server.launch([sys.executable, "-c", code], cwd=tmp_path, environment=server_environment())
    psutil.Process(server.pid).wait(10)
    assert not (tmp_path / "ran").exists()


COUNTING = """
import signal, sys, time
count = 0
def handle(number, frame):
    global count
    count += 1
signal.signal(signal.SIGTERM, handle)
print("ready", flush=True)
while not count:
    time.sleep(0.01)
time.sleep(0.5)
print("signals:", count, flush=True)
"""


def test_a_server_is_asked_to_stop_only_once(tmp_path: Path) -> None:
    server = Server("thing", tmp_path / "thing.log", Ledger())
    server.launch([sys.executable, "-c", COUNTING], cwd=tmp_path, environment=server_environment())
    wait_until(lambda: "ready" in server.log_since_start())
    server.ask_to_stop()
    server.ask_to_stop()
    server.stop(10)
    assert "signals: 1\n" in server.log_since_start()


def test_a_server_that_dies_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "thing.log"
    log.write_text("from an earlier run\n")
    server = Server("thing", log, Ledger())
    code = "import sys; print('cannot bind'); sys.exit(3)"
    server.launch([sys.executable, "-c", code], cwd=tmp_path, environment=server_environment())
    text = str(server.died())
    assert "thing ended with exit code 3" in text
    assert "cannot bind" in text
    assert str(log) in text
    assert "earlier run" not in text


def test_a_server_sees_none_of_our_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Xmx1m")
    monkeypatch.setenv("PGPORT", "1")
    assert server_environment().keys() <= {"HOME", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER", "LC_ALL"}


SUPERVISOR = """
import os, subprocess, sys, time
from pathlib import Path
from eventsource.embedded.processes import ProcessRecord
from eventsource.embedded.watch import Guard
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
kept = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
guard = Guard([Path(sys.argv[1])])
guard.watch(ProcessRecord.of(child.pid, "child"))
guard.watch(ProcessRecord.of(kept.pid, "kept"))
guard.forget(ProcessRecord.of(kept.pid, "kept"))
print(child.pid, kept.pid, guard.pid, flush=True)
if sys.argv[2] == "fork":
    os.write(1, b"%d\\n" % os.fork())  # in one piece: both write, and `print` may write the line's end apart
time.sleep(600)
"""


@pytest.mark.parametrize("fork", ["fork", "no fork"])
def test_the_guard_ends_what_it_watches_when_its_supervisor_is_killed(tmp_path: Path, fork: str) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    with subprocess.Popen([sys.executable, "-c", SUPERVISOR, str(folder), fork], stdout=subprocess.PIPE) as supervisor:
        assert supervisor.stdout is not None
        pids = [int(word) for word in supervisor.stdout.readline().split()]
        child, kept, guard = (ProcessRecord.of(pid, "") for pid in pids)
        # A forked child keeps the pipe to the guard open, and prints 0.
        lines = {supervisor.stdout.readline(), supervisor.stdout.readline()} if fork == "fork" else set()
        supervisor.kill()
        wait_until(lambda: not guard.is_alive)
        assert not child.is_alive
        assert kept.is_alive
        for pid in {kept.pid, *map(int, lines)} - {0}:
            os.kill(pid, signal.SIGKILL)
        assert not folder.exists()


def test_a_dismissed_guard_ends_nothing(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    guard = Guard([tmp_path])
    guard.watch(ProcessRecord.of(sleeper.pid, "sleeper"))
    guard.close(end_watched=False)
    assert sleeper.poll() is None
    assert tmp_path.exists()


def test_an_interrupted_stop_leaves_the_rest_to_the_guard(sleeper: subprocess.Popen[bytes]) -> None:
    guard = Guard([])
    guard.watch(ProcessRecord.of(sleeper.pid, "sleeper"))
    guard.close(end_watched=True)
    assert sleeper.wait(10) == -signal.SIGTERM


def test_a_claim_is_not_that_of_a_forked_process(tmp_path: Path) -> None:
    claim = Claim.take(tmp_path, brokers=1, delete_with_guard=[])
    try:
        child = os.fork()
        if child == 0:
            os._exit(0 if not claim.is_ours else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert claim.is_ours
    finally:
        claim.release()


def test_a_folder_has_one_supervisor_at_a_time(tmp_path: Path) -> None:
    first = Claim.take(tmp_path, brokers=1, delete_with_guard=[])
    try:
        with pytest.raises(EmbeddedStackError, match=rf"in use by another embedded stack \(process {os.getpid()}\)"):
            Claim.take(tmp_path, brokers=1, delete_with_guard=[])
    finally:
        first.release()
    Claim.take(tmp_path, brokers=1, delete_with_guard=[]).release()


# --- temporary folders -------------------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EphemeralFolders:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return EphemeralFolders(tmp_path / "state")


def test_a_temporary_stack_whose_supervisor_is_gone_is_cleared_up(
    folders: EphemeralFolders, sleeper: subprocess.Popen[bytes]
) -> None:
    folder, entry = folders.make()
    orphan = ProcessRecord.of(sleeper.pid, "Postgres")
    StackRecord(brokers=1, cluster_id="x", servers=[orphan]).write(folder)
    assert folders.sweep() == []
    assert folder.exists()
    entry.write_text(entry.read_text().replace(ProcessRecord.of(os.getpid(), "supervisor").start_mark, "gone/1"))
    assert folders.sweep() == [orphan]
    assert sleeper.wait(10) == -signal.SIGTERM
    assert not folder.exists()
    assert not entry.exists()


def test_a_folder_that_was_never_filled_is_cleared_up_too(folders: EphemeralFolders) -> None:
    folder, entry = folders.make()
    entry.write_text(entry.read_text().replace(ProcessRecord.of(os.getpid(), "supervisor").start_mark, "gone/1"))
    assert folders.sweep() == []
    assert not folder.exists()
    assert not entry.exists()


def test_a_temporary_folder_that_cannot_be_made_is_a_clear_error(
    folders: EphemeralFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    with pytest.raises(EmbeddedStackError, match="set TMPDIR"):
        folders.make()
    assert list((tmp_path / "state" / "ephemeral").glob("*.json")) == []


def test_only_temporary_folders_are_ever_deleted(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedStackError, match="not a temporary folder"):
        remove_folder(tmp_path)
    assert tmp_path.exists()


# --- Postgres's own lock -----------------------------------------------------------------------------------------


def test_the_lock_of_a_killed_postgres_whose_id_went_to_another_program_is_removed(tmp_path: Path) -> None:
    lock = tmp_path / "postmaster.pid"
    lock.write_text(f"{os.getpid()}\n/data\n")
    remove_stale_lock(lock)
    assert not lock.exists()
    remove_stale_lock(lock)


def mode_and_group(folder: Path) -> tuple[int, int]:
    return stat.S_IMODE(folder.stat().st_mode), folder.stat().st_gid


def claim_and_release(folder: Path) -> tuple[int, int]:
    Claim.take(folder, brokers=1, delete_with_guard=[]).release()
    return mode_and_group(folder)


def forget_owner(folder: Path) -> None:
    """As records of earlier versions are."""
    path = StackRecord.path(folder)
    path.write_text(
        json.dumps({name: each for name, each in json.loads(path.read_text()).items() if name != "owns_folder"})
    )


def test_a_folder_of_the_users_own_keeps_its_permissions_at_every_start(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    tmp_path.chmod(0o755)
    before = mode_and_group(tmp_path)
    assert [claim_and_release(tmp_path) for _ in range(3)] == [before] * 3
    (tmp_path / "notes.txt").unlink()
    assert claim_and_release(tmp_path) == before
    (tmp_path / "notes.txt").touch()
    forget_owner(tmp_path)
    assert claim_and_release(tmp_path) == before


@pytest.mark.parametrize("is_of_an_earlier_version", [False, True])
@pytest.mark.parametrize("is_there", [False, True])
def test_a_folder_of_the_stack_is_closed_at_every_start(
    tmp_path: Path, is_there: bool, is_of_an_earlier_version: bool
) -> None:
    folder = tmp_path / "data"
    if is_there:
        folder.mkdir(mode=0o755)
    for _ in range(2):
        assert claim_and_release(folder)[0] in {0o700, 0o710}
        folder.chmod(0o755)
        if is_of_an_earlier_version:
            forget_owner(folder)
