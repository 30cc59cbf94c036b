"""Bytes by text, in the order in which they came."""

from __future__ import annotations

from typing import Final

_ENTRY_BYTES: Final = 175
"""What an entry takes besides its key and its own bytes: two objects, their place in the map and that in the order (measured)."""


class PackedMap:
    """Values by key, and which of them came since the mark. `native_packed_map` has the same in machine code."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}
        self._order: list[str] = []
        self._size_bytes = 0

    def __len__(self) -> int:
        return len(self._values)

    @property
    def size_bytes(self) -> int:
        """What the entries take in memory; 0 where there are none."""
        return self._size_bytes

    def get(self, key: str) -> bytes | None:
        """The value, or None."""
        return self._values.get(key)

    def put(self, key: str, value: bytes) -> None:
        """Keeps the value, instead of what was there."""
        before = self._values.get(key)
        self._values[key] = value
        self._order.append(key)
        self._size_bytes += len(value) - len(before) if before is not None else _ENTRY_BYTES + len(key) + len(value)

    def mark(self) -> None:
        """Begins anew to collect what `since_mark` gives."""
        self._order.clear()

    def since_mark(self) -> list[tuple[bytes, bytes]]:
        """Key, in UTF-8, and value of what was put since the mark, in order; the newest of one key comes last."""
        values = self._values
        return [(key.encode(), values[key]) for key in dict.fromkeys(self._order)]
