"""Where the stack keeps what outlives one data folder: the broker's jars, and the list of temporary stacks."""

from __future__ import annotations

import os
from pathlib import Path

from eventsource.errors import EmbeddedStackError

try:
    import platformdirs
except ModuleNotFoundError as error:
    raise EmbeddedStackError(
        "the embedded stack needs more packages: pip install 'eventsource-kafka[embedded]'"
    ) from error

_APPLICATION = "eventsource-kafka"


def default_cache_dir() -> Path:
    """The user's cache folder for this framework, such as `~/.cache/eventsource-kafka`."""
    return Path(platformdirs.user_cache_dir(_APPLICATION, appauthor=False))


def default_state_dir() -> Path:
    """The user's state folder for this framework, such as `~/.local/state/eventsource-kafka`."""
    return Path(platformdirs.user_state_dir(_APPLICATION, appauthor=False))


def make_folder(path: Path, *, mode: int = 0o755) -> Path:
    """Returns `path` as a folder that can be written to; raises `EmbeddedStackError` if it cannot be."""
    try:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError as error:
        raise EmbeddedStackError(f"cannot make the folder {path} ({error.strerror}): choose another one") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise EmbeddedStackError(f"cannot write to the folder {path}: choose another one, or change its permissions")
    return path


def write_atomically(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replaces the file's content; a reader, or a crash, sees the old one or the new one."""
    try:
        _replace(path, text, mode)
    except OSError as error:
        raise EmbeddedStackError(
            f"cannot write {path} ({error.strerror}): make room, or choose another folder"
        ) from error


def _replace(path: Path, text: str, mode: int) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
