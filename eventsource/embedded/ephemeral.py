"""Temporary data folders, listed in the user's state folder so that a later start can clear up after a killed one."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import uuid
from dataclasses import asdict
from pathlib import Path

from eventsource.embedded.file_lock import FileLock
from eventsource.embedded.folders import default_state_dir, make_folder, write_atomically
from eventsource.embedded.processes import ProcessRecord, end_processes
from eventsource.embedded.record import StackRecord
from eventsource.errors import EmbeddedStackError, EmbeddedStackMisused

_LOCK_TIMEOUT_SECONDS = 60.0
_ORPHAN_SECONDS = 5.0
_PREFIX = "eventsource-"


class EphemeralFolders:
    """The list: one small file for each temporary folder, written before the folder holds anything."""

    def __init__(self, state_dir: Path | None = None) -> None:
        self._folder = (state_dir or default_state_dir()) / "ephemeral"

    def make(self) -> tuple[Path, Path]:
        """Returns a new temporary folder and the entry that lists it. Raises `EmbeddedStackError` if it cannot."""
        make_folder(self._folder)
        with self._lock():
            name = uuid.uuid4().hex
            folder = Path(tempfile.gettempdir(), f"{_PREFIX}{name}")
            entry = self._folder / f"{name}.json"
            supervisor = ProcessRecord.of(os.getpid(), "supervisor")
            write_atomically(entry, json.dumps({"folder": str(folder), "supervisor": asdict(supervisor)}))
            try:
                folder.mkdir(mode=0o700)
            except OSError as error:
                entry.unlink()
                raise EmbeddedStackMisused(
                    f"cannot make a temporary folder in {folder.parent} ({error.strerror}): set TMPDIR to one that can be written"
                ) from error
        return folder, entry

    def sweep(self) -> list[ProcessRecord]:
        """Ends the processes and deletes the folders of temporary stacks whose supervisor is gone; returns the processes."""
        make_folder(self._folder)
        ended: list[ProcessRecord] = []
        with self._lock():
            for entry in self._folder.glob("*.json"):
                ended += self._sweep_one(entry)
        return ended

    def _sweep_one(self, entry: Path) -> list[ProcessRecord]:
        try:
            content = json.loads(entry.read_text(encoding="utf-8"))
            folder, supervisor = Path(content["folder"]), ProcessRecord(**content["supervisor"])
        except FileNotFoundError:
            return []  # its guard was quicker
        except (ValueError, KeyError, TypeError) as error:
            raise EmbeddedStackError(
                f"{entry} is damaged ({error}): delete it, and the folder that it names"
            ) from error
        if supervisor.is_alive:
            return []
        record = StackRecord.read(folder)
        ended = [] if record is None else end_processes(record.servers, timeout_seconds=_ORPHAN_SECONDS)
        remove_folder(folder)
        entry.unlink(missing_ok=True)
        return ended

    def _lock(self) -> FileLock:
        return FileLock(
            self._folder / "lock", timeout_seconds=_LOCK_TIMEOUT_SECONDS, what="clearing up after temporary stacks"
        )


def remove_folder(folder: Path) -> None:
    """Deletes a temporary stack's folder, which may be gone already or be deleted by its guard at the same time."""
    if not folder.name.startswith(_PREFIX):
        raise EmbeddedStackError(f"{folder} is not a temporary folder of the embedded stack: delete it by hand")
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        raise EmbeddedStackError(f"cannot delete the temporary folder {folder}: delete it by hand")
