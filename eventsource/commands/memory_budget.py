"""How much memory the owners of a worker process may fill with aggregates and command ids."""

from __future__ import annotations

import dataclasses
import sys
import threading
from collections.abc import Iterable, Mapping
from typing import Any, Final

_DEPTH: Final = 20


class MemoryBudget:
    """One worker process's budget in bytes, in equal shares for the partitions that it owns. Safe to share between threads."""

    def __init__(self, total_bytes: int) -> None:
        self._total_bytes = total_bytes
        self._owners = 0
        self._lock = threading.Lock()

    def enter(self) -> None:
        """Another owner begins."""
        with self._lock:
            self._owners += 1

    def leave(self) -> None:
        """An owner has ended."""
        with self._lock:
            self._owners -= 1

    @property
    def share_bytes(self) -> int:
        """What each owner may use now."""
        return self._total_bytes // max(1, self._owners)


def size_bytes(value: Any, depth: int = _DEPTH) -> int:
    """Roughly how many bytes a value takes, with all that it holds. What is shared is counted wherever it appears."""
    total = sys.getsizeof(value)
    if depth == 0:
        return total
    if isinstance(value, Mapping):
        return total + sum(size_bytes(key, depth - 1) + size_bytes(item, depth - 1) for key, item in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return total + sum(size_bytes(item, depth - 1) for item in value)
    fields = getattr(value, "__dict__", None)
    if isinstance(fields, dict):
        return total + sys.getsizeof(fields) + _sum(fields.values(), depth)
    if dataclasses.is_dataclass(value):
        return total + _sum((getattr(value, field.name, None) for field in dataclasses.fields(value)), depth)
    return total


def _sum(values: Iterable[Any], depth: int) -> int:
    return sum(size_bytes(value, depth - 1) for value in values)
