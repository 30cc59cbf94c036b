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
        self._before = snapshot(root)
        self._changed = threading.Event()
        self._closed = threading.Event()
        use_watchfiles = find_spec("watchfiles") is not None if use_watchfiles is None else use_watchfiles
        targets = [self._watch_root, self._watch_folders] if use_watchfiles else [self._look]
        self._threads = [threading.Thread(target=target, name="source-watch", daemon=True) for target in targets]
        for thread in self._threads:
            thread.start()

    def changed(self) -> bool:
        if not self._changed.is_set():
            return False
        self._changed.clear()
        return True

    def close(self) -> None:
        self._closed.set()
        for thread in self._threads:
            thread.join()

    def _watch_root(self) -> None:
        """The files directly in the root: through their folder, since an editor that saves puts another file in the place of one."""
        for changes in self._changes(self._root, recursive=False):
            if changes:
                self._changed.set()

    def _watch_folders(self) -> None:
        """Everything below the root's folders, but for those of the servers' data, which change all the time."""
        listened = False
        while not self._closed.is_set():
            watched = list(folders(self._root))
            for changes in self._changes(*watched, recursive=True) if watched else self._ticks():
                appeared = list(folders(self._root)) != watched
                # What changed before the first tick may have done so before anybody listened.
                if changes or appeared or (not listened and snapshot(self._root) != self._before):
                    self._changed.set()
                listened = True
                if appeared:
                    break

    def _changes(self, *paths: Path, recursive: bool) -> Iterator[object]:
        from watchfiles import PythonFilter, watch

        # It logs every change at level info; a restart is logged by the caller.
        logging.getLogger("watchfiles").setLevel(logging.WARNING)
        return watch(
            *paths,
            watch_filter=PythonFilter(),
            recursive=recursive,
            stop_event=self._closed,
            rust_timeout=_LOOK_MILLISECONDS,
            yield_on_timeout=True,
        )

    def _ticks(self) -> Iterator[object]:
        while not self._closed.wait(_LOOK_MILLISECONDS / 1000):
            yield None

    def _look(self) -> None:
        for _ in self._ticks():
            now = snapshot(self._root)
            if now != self._before:
                self._changed.set()
            self._before = now


def folders(root: Path) -> Iterator[Path]:
    """The folders directly in `root` that may hold the app's code."""
    for entry in sorted(root.iterdir()):
        if not entry.name.startswith(".") and entry.name not in _IGNORED and entry.is_dir():
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
