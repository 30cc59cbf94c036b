"""Notices that Python files below a folder changed: with `watchfiles` where it is installed, else by looking at them."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

_LOOK_MILLISECONDS = 1000
_IGNORED = frozenset({"__pycache__", "build", "dist", "node_modules", "site-packages", "venv"})


class SourceWatch:
    """`changed()` says whether something changed since it last said so. `use_watchfiles`: by default, if it is installed."""

    def __init__(self, root: Path, *, use_watchfiles: bool | None = None) -> None:
        self._root = root
        self._before: dict[Path, int] = {}
        self._changed = threading.Event()
        self._closed = threading.Event()
        use_watchfiles = find_spec("watchfiles") is not None if use_watchfiles is None else use_watchfiles
        target = self._watch if use_watchfiles else self._look
        if not use_watchfiles:
            self._before = snapshot(root)
        self._thread = threading.Thread(target=target, name="source-watch", daemon=True)
        self._thread.start()

    def changed(self) -> bool:
        if not self._changed.is_set():
            return False
        self._changed.clear()
        return True

    def close(self) -> None:
        self._closed.set()
        self._thread.join()

    def _watch(self) -> None:
        from watchfiles import PythonFilter, watch

        # It tells of every change at level info; what became of it is told by whoever asked.
        logging.getLogger("watchfiles").setLevel(logging.WARNING)
        # Not the root itself: the servers' data lies below it and changes all the time.
        while not self._closed.is_set():
            watched = list(top_level(self._root))
            for changes in watch(
                *watched,
                watch_filter=PythonFilter(),
                stop_event=self._closed,
                rust_timeout=_LOOK_MILLISECONDS,
                yield_on_timeout=True,
            ):
                appeared = list(top_level(self._root)) != watched
                if changes or appeared:
                    self._changed.set()
                if appeared:
                    break

    def _look(self) -> None:
        while not self._closed.wait(_LOOK_MILLISECONDS / 1000):
            now = snapshot(self._root)
            if now != self._before:
                self._changed.set()
            self._before = now


def top_level(root: Path) -> Iterator[Path]:
    """The folders and Python files directly in `root` that may hold the app's code."""
    for entry in sorted(root.iterdir()):
        if entry.name.startswith(".") or entry.name in _IGNORED:
            continue
        if entry.is_dir() or entry.suffix == ".py":
            yield entry


def snapshot(root: Path) -> dict[Path, int]:
    """The modification time, in nanoseconds, of each Python file below `root`."""
    found: dict[Path, int] = {}
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _IGNORED]
        for path in (Path(folder, name) for name in files if name.endswith(".py")):
            # Editors replace files: one may be gone a moment after it was listed.
            with contextlib.suppress(FileNotFoundError):
                found[path] = path.stat().st_mtime_ns
    return found
