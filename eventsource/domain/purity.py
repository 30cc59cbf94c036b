"""Whether a decision left the aggregate as it was. A decision returns events; only these may change the state."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from math import isnan
from operator import is_
from typing import Any, Final

from eventsource.domain.copying import ATOMS, is_frozen, is_plain

_DEEPEST: Final = 200
_SMALL: Final = 100
"""How many items the collections of a state may hold together for it to be copied for every command of a batch."""
_MISSING: Final = object()


class Purity:
    """For the states of one aggregate class. Belongs to one thread."""

    def __init__(self, cls: type[Any]) -> None:
        self._is_plain = is_plain(cls)
        # Exact types; enums are learned as they are met.
        self._atoms: set[type] = set(ATOMS)

    def fields_if_unchangeable(self, state: Any) -> dict[str, Any] | None:
        """The fields of a state, where none of them holds anything that can be changed; None for any other state."""
        if not self._is_plain:
            return None
        fields: dict[str, Any] = state.__dict__
        atoms = self._atoms
        for value in fields.values():
            if value.__class__ not in atoms and not is_frozen(value, atoms, 1):
                return None
        return fields.copy()

    def changed_fields(self, before: Any, after: Any) -> list[str]:
        """The fields by which a state differs from one that it was copied from, or that is its copy."""
        if self._is_plain:
            return _changed(before.__dict__, after.__dict__)
        return _changed(_held(before), _held(after))

    def is_small(self, state: Any) -> bool:
        """Whether a copy of the state costs little beside a command."""
        items = 0
        for value in getattr(state, "__dict__", {}).values():
            if isinstance(value, list | dict | set | tuple | frozenset):
                items += len(value)
        return items <= _SMALL


class Outline:
    """What a large state was: its fields, and the items of its collections, but not what those hold in turn."""

    def __init__(self, state: Any) -> None:
        self._fields = _held(state)
        self._items = {name: value.copy() for name, value in self._fields.items() if type(value) in (list, dict, set)}

    def changed_fields(self, state: Any) -> list[str]:
        """The fields by which the state differs from what it was."""
        fields = _held(state)
        found = [
            name
            for name in dict.fromkeys((*self._fields, *fields))
            if fields.get(name, _MISSING) is not self._fields.get(name, _MISSING)
        ]
        return found or [name for name, items in self._items.items() if not _has_items(fields[name], items)]


def _has_items(collection: Any, items: Any) -> bool:
    if len(collection) != len(items):
        return False
    if type(items) is set:
        return bool(collection == items)
    if type(items) is dict and not all(map(is_, collection.values(), items.values())):
        return False
    return all(map(is_, collection, items))


def replaced_fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The fields that hold another value than before. Neither holds anything that can be changed."""
    if len(before) == len(after) and all(map(is_, before.values(), after.values())):
        return []
    return _changed(before, after)


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    names = before if before.keys() == after.keys() else dict.fromkeys((*before, *after))
    return [name for name in names if not _same(before.get(name, _MISSING), after.get(name, _MISSING), 1)]


def _same(before: Any, after: Any, depth: int) -> bool:
    """Whether nothing differs, types included. What a copy shares with its original is not looked into."""
    if before is after:
        return True
    kind = before.__class__
    if kind is not after.__class__ or depth > _DEEPEST:
        return False
    if kind is list or kind is tuple:
        if len(before) != len(after):
            return False
        # Identical items are counted by code written in C: a large list of texts costs next to nothing.
        return all(map(is_, before, after)) or all(_same(*pair, depth + 1) for pair in zip(before, after, strict=True))
    if kind is dict:
        if len(before) != len(after):
            return False
        return (all(map(is_, before, after)) and all(map(is_, before.values(), after.values()))) or all(
            _same(*pair, depth + 1) for pair in zip(before.items(), after.items(), strict=True)
        )
    if dataclasses.is_dataclass(before) or hasattr(before, "__pydantic_fields_set__"):
        held, now = _held(before), _held(after)
        return held.keys() == now.keys() and all(_same(held[name], now[name], depth + 1) for name in held)
    if kind is float:
        return bool(before == after) or (isnan(before) and isnan(after))
    if hasattr(before, "as_tuple"):  # a Decimal
        return bool(before.as_tuple() == after.as_tuple())
    if getattr(kind, "__eq__", None) is not object.__eq__:
        try:
            return bool(before == after)
        except Exception:  # noqa: BLE001 - such as an array's: what cannot be compared is not known to have changed
            return True
    held, now = _held(before), _held(after)
    return held.keys() == now.keys() and all(_same(held[name], now[name], depth + 1) for name in held)


def _held(value: object) -> dict[str, Any]:
    slots = (vars(base).get("__slots__", ()) for base in type(value).__mro__)
    names = (name for slot in slots for name in ((slot,) if isinstance(slot, str) else slot))
    # A pydantic model has its own slots, of which `__dict__` is the one that counts.
    own = {name: getattr(value, name) for name in names if not name.startswith("__") and hasattr(value, name)}
    return {**own, **getattr(value, "__dict__", {})}
