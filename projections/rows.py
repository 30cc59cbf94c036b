"""What a handler may do with rows: change the one it got, use several by key, delete."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any, Generic, TypeVar

from projections.twin import Key

M = TypeVar("M")


class Deleted:
    """What a handler with one row returns to have that row deleted: `return Deleted()`.

    The next event for the same key meets a fresh row.
    """

    __slots__ = ()


class Rows(Generic[M]):
    """The rows that one event may use: those whose keys `keys=` or `items=` named for it, and no others.

    A key is the value of the primary key, or a tuple of its values when it has several columns.
    """

    __slots__ = ("_keys", "_new", "_rows")

    def __init__(self, keys: Mapping[Any, Key], rows: MutableMapping[Key, Any], new: Callable[[Key], Any]) -> None:
        self._keys = keys
        self._rows = rows
        self._new = new

    def __getitem__(self, key: Any) -> M:
        """The row of `key`; where there is none, a new one with the defaults of the model."""
        full = self._full(key)
        row = self._rows.get(full)
        if row is None:
            row = self._rows[full] = self._new(full)
        return row  # type: ignore[no-any-return]  # the twin stands for the model

    def get(self, key: Any) -> M | None:
        """The row of `key`, None where there is none."""
        return self._rows.get(self._full(key))

    def delete(self, key: Any) -> None:
        """Deletes the row of `key`, if there is one."""
        self._rows.pop(self._full(key), None)

    def __contains__(self, key: Any) -> bool:
        """Whether there is a row of `key`."""
        return self._full(key) in self._rows

    def __iter__(self) -> Iterator[Any]:
        """The keys that the event named, in its order, whether they have a row or not."""
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def _full(self, key: Any) -> Key:
        try:
            return self._keys[key]
        except (KeyError, TypeError):
            raise KeyError(
                f"the key {key!r} is not among those that this event named ({', '.join(map(repr, self._keys))}): add it to what "
                "keys= or items= returns"
            ) from None

    def __repr__(self) -> str:
        return f"Rows({list(self._keys)!r})"


def is_rows(annotation: Any) -> bool:
    """Whether an annotation is `Rows` or `Rows[…]`."""
    return annotation is Rows or getattr(annotation, "__origin__", None) is Rows


def row_type_of(annotation: Any) -> Any:
    """What stands in `Rows[…]`; None for a bare `Rows`."""
    arguments: Sequence[Any] = getattr(annotation, "__args__", ())
    return arguments[0] if arguments else None
