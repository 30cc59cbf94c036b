"""What an owner keeps in memory of the answers that its state store holds on disk."""

from __future__ import annotations

from typing import Any

PackedMap: Any  # either of two classes, which mypyc must not take for one
try:
    from eventsource.commands.native_packed_map import PackedMap
except ImportError:  # it was not compiled
    from eventsource.commands.packed_map import PackedMap


class AnswerAges:
    """Packed answers by command id, in two ages: young, which begins with what is not saved yet, and old.

    As `Generations`, for what is many and small: what nobody asked for during a whole age is dropped with the old, and what is unsaved
    stays.
    """

    __slots__ = ("_found", "_old", "_old_found", "_young", "complete", "unsaved")

    def __init__(self) -> None:
        self.complete: bool = True
        """Whether everything there is, is here: nothing was dropped, and nothing is on disk alone."""
        self.unsaved: int = 0
        """How many were put since the last save."""
        self._young: Any = PackedMap()
        self._old: Any = PackedMap()
        self._found: Any = PackedMap()  # young too: what was old and asked for, or read from disk
        self._old_found: Any = PackedMap()

    def get(self, command_id: str) -> bytes | None:
        """The answer, if it is in memory."""
        answer: bytes | None = self._young.get(command_id)
        if answer is None and self._found:
            answer = self._found.get(command_id)
        if answer is None and (self._old or self._old_found):
            answer = self._old.get(command_id)
            if answer is None:
                answer = self._old_found.get(command_id)
            if answer is not None:
                self.add_saved(command_id, answer)
        return answer

    def put(self, command_id: str, answer: bytes) -> None:
        """Takes in an answer that the disk does not hold yet."""
        self._young.put(command_id, answer)
        self.unsaved += 1

    def add_saved(self, command_id: str, answer: bytes) -> None:
        """Takes in what was read from disk."""
        self._found.put(command_id, answer)

    def unsaved_items(self) -> list[tuple[bytes, bytes]]:
        """What the disk does not hold yet: command ids, in UTF-8, and answers."""
        items: list[tuple[bytes, bytes]] = self._young.since_mark()
        return items

    def saved(self) -> None:
        """To be called when all that was unsaved is on disk."""
        self._young.mark()
        self.unsaved = 0

    def turn(self) -> None:
        """Ends an age: drops what is old. What is unsaved stays."""
        self.drop_old()
        if not self.young_bytes:
            return
        unsaved = self._young.since_mark()
        self._old, self._young = self._young, PackedMap()
        self._old_found, self._found = self._found, PackedMap()
        for command_id, answer in unsaved:
            self._young.put(command_id.decode(), answer)

    def drop_old(self) -> None:
        """Drops what is old before its age is over."""
        if self._old or self._old_found:
            self.complete = False
            self._old, self._old_found = PackedMap(), PackedMap()

    def drop_unsaved_age(self) -> None:
        """Ends an age of answers that have no disk: what is old is forgotten for good."""
        self._old, self._young = self._young, PackedMap()
        self._found = PackedMap()
        self.unsaved = 0

    @property
    def unsaved_bytes(self) -> float:
        """What the unsaved answers take."""
        count = len(self._young)
        return float(self._young.size_bytes) * min(1.0, self.unsaved / count) if count else 0.0

    @property
    def young_bytes(self) -> float:
        """What the young answers take that are saved."""
        return float(self._young.size_bytes + self._found.size_bytes) - self.unsaved_bytes

    @property
    def old_bytes(self) -> float:
        """What the old answers take."""
        return float(self._old.size_bytes + self._old_found.size_bytes)

    @property
    def all_bytes(self) -> float:
        """What all answers take."""
        return self.old_bytes + float(self._young.size_bytes + self._found.size_bytes)

    def __len__(self) -> int:
        """How many there are; one that is in both ages counts twice."""
        return len(self._young) + len(self._found) + len(self._old) + len(self._old_found)
