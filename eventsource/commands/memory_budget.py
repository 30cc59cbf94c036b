"""How much memory the owners of a worker process may fill with aggregates and command ids."""

from __future__ import annotations

import dataclasses
import sys
import threading
from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from typing import Any, Final

_DEPTH: Final = 20
_ITEMS_MEASURED: Final = 100
_SAMPLES_KEPT: Final = 100


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


class StateSizes:
    """How many bytes a state takes in memory, told from those of its snapshot: a line through the samples that it is given."""

    def __init__(self) -> None:
        self._samples = 0.0
        self._state_bytes = 0.0
        self._snapshot_bytes = 0.0
        self._smallest_bytes = float("inf")

    def note(self, state_bytes: int, snapshot_bytes: int) -> None:
        """A sample. Older ones count less and less: aggregates may grow."""
        if self._samples >= _SAMPLES_KEPT:
            self._samples /= 2
            self._state_bytes /= 2
            self._snapshot_bytes /= 2
        self._samples += 1
        self._state_bytes += state_bytes
        self._snapshot_bytes += snapshot_bytes
        self._smallest_bytes = min(self._smallest_bytes, state_bytes)

    @property
    def unknown(self) -> bool:
        """Whether there was no sample yet."""
        return not self._samples

    def estimate_bytes(self, snapshot_bytes: int, states: int = 1) -> float:
        """What so many states take whose snapshots take so many bytes together."""
        if not self._samples:
            return float(snapshot_bytes)
        grown = self._state_bytes - self._samples * self._smallest_bytes
        return states * self._smallest_bytes + grown / max(1.0, self._snapshot_bytes) * snapshot_bytes


def size_bytes(value: Any, depth: int = _DEPTH) -> int:
    """Roughly how many bytes a value takes, with all that it holds. What is shared is counted wherever it appears.

    Of a collection of more than 100 items, 100 are measured and stand for all.
    """
    total = sys.getsizeof(value)
    if depth == 0:
        return total
    if isinstance(value, Mapping):
        return total + _items(value, depth) + _items(value.values(), depth)
    if isinstance(value, list | tuple | set | frozenset):
        return total + _items(value, depth)
    fields = getattr(value, "__dict__", None)
    if isinstance(fields, dict):
        return total + sys.getsizeof(fields) + _sum(fields.values(), depth)
    if dataclasses.is_dataclass(value):
        return total + _sum((getattr(value, field.name, None) for field in dataclasses.fields(value)), depth)
    return total


def _items(items: Collection[Any], depth: int) -> int:
    if len(items) <= _ITEMS_MEASURED:
        return _sum(items, depth)
    measured = _sum(islice(items, 0, None, len(items) // _ITEMS_MEASURED), depth)
    return measured * len(items) // -(-len(items) // (len(items) // _ITEMS_MEASURED))


def _sum(values: Iterable[Any], depth: int) -> int:
    return sum(size_bytes(value, depth - 1) for value in values)
