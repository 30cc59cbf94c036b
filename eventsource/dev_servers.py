"""Where a running `eventsource dev` says which servers it runs, so that apps and commands in the same folder find them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

DEV_FILE: Final = Path(".eventsource") / "dev.env"
_HEAD: Final = re.compile(r"# Written by `eventsource dev`, process (\d+)")


@contextmanager
def told_to_others(path: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """For its duration the file holds these variables, readable by its owner alone: they may hold a password."""
    lines = [f"# Written by `eventsource dev`, process {os.getpid()}; gone when it ends."]
    lines += [f"{name}={_quoted(value)}" for name, value in environment.items()]
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def running_dev_file(path: Path = DEV_FILE) -> Path | None:
    """The file, if there is one and the process that wrote it lives: what one that was killed left behind is not believed."""
    try:
        with path.open(encoding="utf-8") as file:
            head = _HEAD.match(file.readline())
    except (OSError, UnicodeDecodeError):
        return None
    return path if head is not None and _lives(int(head[1])) else None


def _lives(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _quoted(value: str) -> str:
    """As python-dotenv reads it back."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
