"""Who may run a data folder: one supervisor at a time, and the list of its processes, kept in `stack.json`."""

from __future__ import annotations

import os
import re
from pathlib import Path

from eventsource.embedded.account import account_group
from eventsource.embedded.broker_config import new_kafka_uuid
from eventsource.embedded.file_lock import FileLock
from eventsource.embedded.folders import close_folder, make_folder, write_atomically
from eventsource.embedded.ports import choose_port
from eventsource.embedded.processes import ProcessRecord, end_processes
from eventsource.embedded.record import PortRecord, StackRecord
from eventsource.embedded.watch import Guard
from eventsource.errors import EmbeddedStackMisused

_LOCK_TIMEOUT_SECONDS = 60.0
_ORPHAN_SECONDS = 20.0
_LOCK = "stack.lock"
_LOCK_ALONE = frozenset({_LOCK})
_OWN_NAMES = _LOCK_ALONE | {".gitignore", "stack.json", "dev.env", "kafka", "logs", "postgres", "stores"}
_DRAFT = re.compile(r"\.(stack\.json|dev\.env|\.gitignore)\.\d+\.new")


class Claim:
    """This process's hold on a data folder, from `take` until `release`. Servers report to it (see `server.Ledger`)."""

    def __init__(self, data_dir: Path, record: StackRecord, guard: Guard, ended_orphans: list[ProcessRecord]) -> None:
        self.data_dir = data_dir
        self.ended_orphans = ended_orphans
        self._record = record
        self._guard = guard
        self._owner_pid = os.getpid()

    @classmethod
    def take(cls, data_dir: Path, *, brokers: int, delete_with_guard: list[Path]) -> Claim:
        """Claims the folder, ending what an earlier supervisor left running.

        Raises `EmbeddedStackError` if it cannot be written to, another supervisor runs it, or it was made for another
        number of brokers.
        """
        make_folder(data_dir)
        with FileLock(data_dir / _LOCK, timeout_seconds=_LOCK_TIMEOUT_SECONDS, what=f"starting on {data_dir}"):
            record = StackRecord.read(data_dir) or StackRecord(brokers=brokers, cluster_id=new_kafka_uuid())
            holder = record.supervisor
            if holder is not None and holder.is_alive:
                raise EmbeddedStackMisused(
                    f"{data_dir} is in use by another embedded stack (process {holder.pid}): stop that one, or use another data folder"
                )
            if record.brokers != brokers:
                raise EmbeddedStackMisused(
                    f"{data_dir} was made for {record.brokers} broker(s), not {brokers}: start it with {record.brokers}, "
                    "or use another data folder"
                )
            if record.owns_folder is None:
                is_new = not StackRecord.path(data_dir).exists()
                record.owns_folder = _holds_nothing_but(data_dir, _LOCK_ALONE if is_new else _OWN_NAMES)
            if record.owns_folder:
                _close(data_dir)
            ignore = data_dir / ".gitignore"
            if not ignore.exists():
                write_atomically(ignore, "*\n")
            ended = end_processes(record.servers, timeout_seconds=_ORPHAN_SECONDS)
            record.servers = []
            record.supervisor = ProcessRecord.of(os.getpid(), "supervisor")
            guard = Guard(delete_with_guard)
            try:
                record.write(data_dir)
            except BaseException:
                guard.close(end_watched=False)
                raise
        return cls(data_dir, record, guard, ended)

    @property
    def cluster_id(self) -> str:
        return self._record.cluster_id

    @property
    def is_ours(self) -> bool:
        """False in a process forked from the one that took the claim: it must end nothing."""
        return os.getpid() == self._owner_pid

    def choose_ports(self, asked: dict[str, int]) -> dict[str, int]:
        """A free port for each name: the remembered one, the asked one, or any (0 asks for none in particular)."""
        taken: set[int] = set()
        chosen = {
            name: choose_port(self._record.preferred_ports(name, port), taken=taken) for name, port in asked.items()
        }
        self._record.ports = {name: PortRecord(asked[name], port) for name, port in chosen.items()}
        self._write()
        return chosen

    def add(self, record: ProcessRecord) -> None:
        self._record.servers.append(record)
        self._write()
        self._guard.watch(record)

    def remove(self, record: ProcessRecord) -> None:
        self._record.servers.remove(record)
        self._write()
        self._guard.forget(record)

    def release(self) -> None:
        """Gives the folder up. What still runs, since stopping it failed or was interrupted, is left to the guard."""
        self._record.supervisor = None
        self._write()
        self._guard.close(end_watched=bool(self._record.servers))

    def _write(self) -> None:
        self._record.write(self.data_dir)


def _holds_nothing_but(data_dir: Path, names: frozenset[str]) -> bool:
    # A folder that the user named and that holds something else keeps the permissions that it has.
    return all(path.name in names for path in data_dir.iterdir() if not _DRAFT.fullmatch(path.name))


def _close(data_dir: Path) -> None:
    """Keeps all others on the machine out of the data folder, except for Postgres's own account where that is another one."""
    group = account_group()
    close_folder(data_dir, group=group)
    for name in ("kafka", "logs", "stores"):
        if (data_dir / name).is_dir():
            close_folder(data_dir / name)
