"""What an owner keeps in memory of what its state store holds on disk."""

from __future__ import annotations

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Generations(Generic[K, V]):
    """A map in three ages: not saved yet, young, old. What nobody asked for during a whole age is dropped with the old.

    An approximation of least-recently-used that costs a hit in the youngest age nothing but the look-up.
    """

    __slots__ = ("_old", "_young", "complete", "unsaved")

    def __init__(self) -> None:
        self.unsaved: dict[K, V] = {}
        self.complete = True
        """Whether everything there is, is here: nothing was dropped, and nothing is on disk alone."""
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """The value, if it is in memory."""
        value = self.unsaved.get(key)
        if value is None:
            value = self._young.get(key)
            if value is None and self._old:
                value = self._old.get(key)
                if value is not None:
                    self._young[key] = value
        return value

    def add_saved(self, key: K, value: V) -> None:
        """Takes in what was read from disk."""
        self._young[key] = value

    def saved(self) -> None:
        """To be called when all that was unsaved is on disk."""
        if self._young:
            self._young.update(self.unsaved)
        else:
            self._young = self.unsaved
        self.unsaved = {}

    def turn(self) -> None:
        """Ends an age: drops what is old. What is unsaved stays."""
        if self._old:
            self.complete = False
        self._old, self._young = self._young, {}

    def drop_unsaved_age(self) -> None:
        """Ends an age of a map that has no disk: what is old is forgotten for good."""
        self._old, self._young, self.unsaved = self.unsaved, {}, {}

    @property
    def recent(self) -> int:
        """How many entries are unsaved or young."""
        return len(self.unsaved) + len(self._young)

    def __len__(self) -> int:
        return len(self.unsaved) + len(self._young) + sum(1 for key in self._old if key not in self._young)
