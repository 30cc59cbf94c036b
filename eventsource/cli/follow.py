"""Follows a growing log file."""

from __future__ import annotations

from pathlib import Path


class LogFollower:
    """Yields the lines that were added since it last looked, each behind the log's name."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name
        self._offset_bytes = path.stat().st_size if path.exists() else 0
        self._rest = b""

    def new_lines(self) -> list[str]:
        """Whole lines only; a line that is still being written comes with its end. Begins anew after a truncation."""
        try:
            with self._path.open("rb") as file:
                if self._path.stat().st_size < self._offset_bytes:
                    self._offset_bytes, self._rest = 0, b""
                file.seek(self._offset_bytes)
                data = file.read()
        except FileNotFoundError:
            return []
        self._offset_bytes += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [f"{self._name} | {line.decode('utf-8', errors='replace')}" for line in lines]
