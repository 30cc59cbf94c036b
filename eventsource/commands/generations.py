"""What an owner keeps in memory of what its state store holds on disk."""

from __future__ import annotations

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Generations(Generic[K, V]):
    """A map in three ages: not saved yet, young, old. What nobody asked for during a whole age is dropped with the old.

    An approximation of least-recently-used that costs a hit in the youngest age nothing but the look-up. It also knows roughly
    how many bytes each age takes: entries are counted exactly, and weighed by the samples that `note` is given.
    """

    __slots__ = (
        "_noted",
        "_noted_bytes",
        "_old",
        "_old_bytes",
        "_young",
        "_young_bytes",
        "complete",
        "unsaved",
    )

    def __init__(self) -> None:
        self.unsaved: dict[K, V] = {}
        self.complete: bool = True
        """Whether everything there is, is here: nothing was dropped, and nothing is on disk alone."""
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self._young_bytes: float = 0.0
        self._old_bytes: float = 0.0
        self._noted: int = 0
        self._noted_bytes: float = 0.0

    def get(self, key: K) -> V | None:
        """The value, if it is in memory."""
        value = self.unsaved.get(key)
        if value is None:
            value = self._young.get(key)
            if value is None and self._old:
                value = self._old.get(key)
                if value is not None:
                    self._renew(key, value)
        return value

    def _renew(self, key: K, value: V) -> None:
        size_bytes = self._old_bytes / len(self._old)
        del self._old[key]
        self._old_bytes -= size_bytes
        self._young[key] = value
        self._young_bytes += size_bytes

    def add_saved(self, key: K, value: V, size_bytes: float) -> None:
        """Takes in what was read from disk."""
        self._young[key] = value
        self._young_bytes += size_bytes

    def note(self, size_bytes: float, entries: int = 1) -> None:
        """Some of what came into `unsaved`, as a sample: how many bytes so many entries take."""
        self._noted_bytes += size_bytes
        self._noted += entries

    def saved(self, size_bytes: float | None = None) -> None:
        """To be called when all that was unsaved is on disk; with what it takes, where that is known better by now."""
        count = len(self.unsaved)
        if size_bytes is None:
            size_bytes = self.unsaved_bytes
        if self._young:
            before = len(self._young)
            self._young.update(self.unsaved)
            replaced = before + count - len(self._young)
            self._young_bytes = self._young_bytes * (before - replaced) / before + size_bytes
        else:
            self._young = self.unsaved
            self._young_bytes = size_bytes
        self.unsaved = {}
        if count:
            self._begin_samples(size_bytes / count)

    def turn(self) -> None:
        """Ends an age: drops what is old. What is unsaved stays."""
        self.drop_old()
        self._old, self._young = self._young, {}
        self._old_bytes, self._young_bytes = self._young_bytes, 0.0

    def drop_old(self) -> None:
        """Drops what is old before its age is over."""
        if self._old:
            self.complete = False
        self._old = {}
        self._old_bytes = 0.0

    def _begin_samples(self, entry_bytes: float) -> None:
        # What came before counts as one sample: what comes now may be of another size.
        self._noted, self._noted_bytes = 1, entry_bytes

    @property
    def entry_bytes(self) -> float:
        """What an entry takes, by the samples since the last save; 0 before the first."""
        return self._noted_bytes / self._noted if self._noted else 0.0

    @property
    def unsaved_bytes(self) -> float:
        """What the unsaved entries take."""
        return len(self.unsaved) * self.entry_bytes

    @property
    def young_bytes(self) -> float:
        """What the young entries take."""
        return self._young_bytes

    @property
    def young_entry_bytes(self) -> float:
        """What a young entry takes; 0 where there is none."""
        return self._young_bytes / len(self._young) if self._young else 0.0

    @property
    def all_bytes(self) -> float:
        """What all entries take."""
        return self.unsaved_bytes + self._young_bytes + self._old_bytes

    @property
    def old_bytes(self) -> float:
        """What the old entries take."""
        return self._old_bytes

    def __len__(self) -> int:
        return len(self.unsaved) + len(self._young) + sum(1 for key in self._old if key not in self._young)
