"""Where the stack keeps what outlives one data folder: the broker's jars, and the list of temporary stacks."""

from __future__ import annotations

import os
from pathlib import Path

from eventsource.errors import EmbeddedStackMisused

try:
    import platformdirs
except ModuleNotFoundError as error:
    raise EmbeddedStackMisused(
        "the embedded stack needs more packages: pip install 'eventsource-kafka[embedded]'"
    ) from error

_APPLICATION = "eventsource-kafka"
_PRIVATE_FOLDER = 0o700
_PASSABLE_FOLDER = 0o710


def default_cache_dir() -> Path:
    """The user's cache folder for this framework, such as `~/.cache/eventsource-kafka`."""
    return Path(platformdirs.user_cache_dir(_APPLICATION, appauthor=False))


def default_state_dir() -> Path:
    """The user's state folder for this framework, such as `~/.local/state/eventsource-kafka`."""
    return Path(platformdirs.user_state_dir(_APPLICATION, appauthor=False))


def make_folder(path: Path) -> Path:
    """Returns `path` as a folder that can be written to; raises `EmbeddedStackMisused` if it cannot be.

    What is missing of it is made for this user alone (0700); what is there keeps its mode.
    """
    try:
        for missing in reversed([folder for folder in (path, *path.parents) if not folder.exists()]):
            missing.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
        path.mkdir(exist_ok=True)  # a file of that name is an error
    except OSError as error:
        raise EmbeddedStackMisused(f"cannot make the folder {path} ({error.strerror}): choose another one") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise EmbeddedStackMisused(f"cannot write to the folder {path}: choose another one, or change its permissions")
    return path


def close_folder(path: Path, *, group: int | None = None) -> None:
    """Takes a folder of ours away from all others (0700). `group` may still pass through it, and neither list nor read it (0710).

    A folder of an earlier version, which others could read, is closed likewise. Raises `EmbeddedStackMisused` if it cannot be.
    """
    try:
        if group is not None:
            os.chown(path, -1, group)
        path.chmod(_PRIVATE_FOLDER if group is None else _PASSABLE_FOLDER)
    except OSError as error:
        raise EmbeddedStackMisused(
            f"cannot change the permissions of {path} ({error.strerror}): choose another data folder, or change its owner"
        ) from error


def open_private(path: str, flags: int) -> int:
    """An `opener` for `open`: a file that it makes is for this user alone (0600)."""
    return os.open(path, flags, 0o600)


def write_atomically(path: Path, text: str) -> None:
    """Replaces the file's content; a reader, or a crash, sees the old one or the new one. Nobody else may read it (0600)."""
    try:
        _replace(path, text)
    except OSError as error:
        raise EmbeddedStackMisused(
            f"cannot write {path} ({error.strerror}): make room, or choose another folder"
        ) from error


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
