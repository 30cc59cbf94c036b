"""The folder of a partition's local state store, and the lock that keeps it to one process."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Self

from eventsource.errors import SettingsError, StateStoreFailed
from eventsource.settings import WorkerSettings

try:
    import fcntl
except ModuleNotFoundError:  # Windows: RocksDB's own lock refuses a second opener there
    fcntl = None  # type: ignore[assignment]

_APPLICATION: Final = "eventsource-kafka"
_SLOTS: Final = 8
_PRIVATE: Final = 0o700


def state_dir_of(settings: WorkerSettings) -> Path:
    """Where a worker's state stores are kept: the folder that is set, or the user's own."""
    return settings.state_dir or default_state_dir()


def default_state_dir() -> Path:
    """The user's state folder for local state stores, such as `~/.local/state/eventsource-kafka/stores`."""
    import platformdirs

    return Path(platformdirs.user_state_dir(_APPLICATION, appauthor=False)) / "stores"


def check_state_dir(state_dir: Path, prefix: str, aggregates: Iterable[str]) -> None:
    """Makes the folders that the state stores of these aggregates go into. Raises `SettingsError` where nothing can be written.

    For a worker's start: what cannot be written then never could, and whoever has the partitions now is to keep them.
    """
    for aggregate in aggregates:
        folder = state_dir / prefix / aggregate
        try:
            make_private(folder)
            with tempfile.TemporaryFile(dir=folder) as probe:
                probe.write(b"\0")
        except OSError as error:
            raise SettingsError(
                f"the state stores cannot be written to {folder} ({error.strerror or error}): set EVENTSOURCE_WORKER__STATE_DIR to a "
                "folder that can be, or make room in this one"
            ) from error


def make_private(folder: Path) -> None:
    """Makes a folder, and those above it that are missing, for this user alone (0700): states are as secret as the events.

    One that is there and that others could enter is closed. Raises `OSError`.
    """
    for missing in reversed([each for each in (folder, *folder.parents) if not each.exists()]):
        missing.mkdir(mode=_PRIVATE, exist_ok=True)
    found = folder.stat()
    if hasattr(os, "geteuid") and found.st_uid == os.geteuid() and found.st_mode & 0o077:
        folder.chmod(_PRIVATE)


class StateFolder:
    """`{state_dir}/{prefix}/{aggregate}/{partition}.{slot}`, locked until it is released or its process dies.

    A partition has several slots, because the owner before may hold the first one still: stopped by a debugger, or hanging in
    a transaction. Whoever finds it locked takes the next and builds its store from the log.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path / "db"
        self._descriptor = descriptor

    @classmethod
    def claim(cls, state_dir: Path, prefix: str, aggregate: str, partition: int) -> Self:
        """The first slot that nobody holds. Raises `StateStoreFailed` if none can be had."""
        folder = state_dir / prefix / aggregate
        claimed = None
        for slot in range(_SLOTS):
            path = folder / f"{partition}.{slot}"
            if claimed is not None and not path.exists():
                continue
            descriptor = _lock(path)
            if descriptor is None:
                continue
            if claimed is None:
                claimed = cls(path, descriptor)
            else:  # what an owner left that found the first slot locked
                shutil.rmtree(path, ignore_errors=True)
                os.close(descriptor)
        if claimed is None:
            raise StateStoreFailed(
                f"all state stores of partition {partition} in {folder} are in use: end the workers that were left behind"
            )
        return claimed

    def release(self) -> None:
        """Lets another process have the folder. Its contents stay."""
        os.close(self._descriptor)


def _lock(path: Path) -> int | None:
    try:
        make_private(path)
        descriptor = os.open(path / "owner", os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    except OSError as error:
        raise StateStoreFailed(
            f"the state store {path} cannot be made ({error.strerror}): set EVENTSOURCE_WORKER__STATE_DIR to a folder that can be "
            "written to"
        ) from error
    if fcntl is None:
        return descriptor
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
