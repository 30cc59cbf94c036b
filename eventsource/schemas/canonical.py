"""One form for bodies that hold equal values: what a command's hash is taken over.

It is found from the bytes and their writer's schema alone, so that it is the same in every version of the code and for senders in
every language. Values themselves are left as they are: a dict keeps its order, and a zero its sign.

* The entries of a map stand in the order of their keys' bytes, in one block; so do the entries of a dict whose keys are no texts, an
  array of records of `key` and `value`, in the order of the canonical bytes of their keys.
* A double or float that is a negative zero is a zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from eventsource.schemas.budget import Budget
from eventsource.schemas.fingerprint import PRIMITIVES
from eventsource.schemas.limits import DEFAULT_LIMITS
from eventsource.schemas.primitives import count, long, varint
from eventsource.schemas.schema_check import named_schemas
from eventsource.schemas.single_object import MARKER, PREFIX_BYTES, written_fingerprint
from eventsource.schemas.store import SchemaStore

Canonical = Callable[[bytes], bytes]
"""From a value, prefix and body, to its canonical form. Raises `Malformed` for bytes that are not what their schema says."""

_Part = Callable[[bytes, int, list[bytes]], int]
"""Appends the canonical bytes of what begins at a position; returns the position behind it."""

_SIZES: Final = {"null": 0, "boolean": 1, "float": 4, "double": 8}
_NEGATIVE_ZEROS: Final = {"float": b"\0\0\0\x80", "double": b"\0\0\0\0\0\0\0\x80"}
_ENTRY: Final = ("key", "value")


class Malformed(Exception):
    """The bytes are not what their schema says: they have no other form."""


def canonical_form(schema: dict[str, Any], skip: int) -> Canonical | None:
    """The function for values written with `schema` behind `skip` bytes of prefix; None if equal values have equal bytes anyway."""
    compiler = _Compiler(schema)
    if not compiler.varies:
        return None
    part = compiler.part(schema, "")
    budget = Budget(schema, skip, DEFAULT_LIMITS)

    def canonical(value: bytes) -> bytes:
        parts = [value[:skip]]
        try:
            budget.check_read(value)  # the parts take as much memory as what is made of them
            end = part(value, skip, parts)
        except Exception as error:
            raise Malformed from error
        if end != len(value):
            raise Malformed
        return b"".join(parts)

    return canonical


def canonical_of(value: bytes, schemas: SchemaStore) -> Canonical | None:
    """The function for values under the prefix of this one; None where equal values have equal bytes anyway.

    Raises `Malformed` where the value has no such prefix, or its schema cannot be followed; what the store's `get` raises.
    """
    if len(value) < PREFIX_BYTES or not value.startswith(MARKER):
        raise Malformed
    written = schemas.get(written_fingerprint(value), patience_seconds=0)
    try:
        return canonical_form(written.schema(), PREFIX_BYTES)
    except Exception as error:  # a schema that is none: others may write into the schemas topic
        raise Malformed from error


class _Compiler:
    def __init__(self, schema: dict[str, Any]) -> None:
        self._named = named_schemas(schema)
        self._parts: dict[str, _Part] = {}
        self.varies = self._varies(schema, set())

    def _resolved(self, schema: Any) -> Any:
        return self._named[schema] if isinstance(schema, str) and schema not in PRIMITIVES else schema

    def _varies(self, schema: Any, seen: set[str]) -> bool:
        """Whether equal values may have several forms."""
        schema = self._resolved(schema)
        if isinstance(schema, list):
            return any(self._varies(branch, seen) for branch in schema)
        kind = schema if isinstance(schema, str) else schema["type"]
        if kind in ("map", "float", "double"):
            return True
        if kind == "array":
            return _is_dict(self._resolved(schema["items"]), "") or self._varies(schema["items"], seen)
        if kind != "record" or schema["name"] in seen:
            return False
        seen.add(schema["name"])
        return any(self._varies(field["type"], seen) for field in schema["fields"])

    def part(self, schema: Any, place: str) -> _Part:
        """`place`: the record and the field where it stands, as in the name of what has no name of its own."""
        schema = self._resolved(schema)
        if isinstance(schema, list):
            return _union([self.part(branch, place) for branch in schema])
        kind = schema if isinstance(schema, str) else schema["type"]
        match kind:
            case "record":
                return self._record(schema)
            case "array" if _is_dict(self._resolved(schema["items"]), place):
                entry = self._resolved(schema["items"])
                simple = _simple(entry["name"])
                key, value = (self.part(field["type"], f"{simple}_{field['name']}") for field in entry["fields"])
                return _entries(key, value)
            case "array":
                return _array(self.part(schema["items"], place))
            case "map":
                return _entries(_sized, self.part(schema["values"], place))
            case "fixed":
                return _fixed(schema["size"])
            case "string" | "bytes":
                return _sized
            case "int" | "long" | "enum":
                return _number
            case _:
                return _fixed(_SIZES[kind], _NEGATIVE_ZEROS.get(kind))

    def _record(self, schema: dict[str, Any]) -> _Part:
        name = schema["name"]
        known = self._parts.get(name)
        if known is not None:
            return known
        fields: list[_Part] = []

        def record(value: bytes, p: int, parts: list[bytes]) -> int:
            for field in fields:
                p = field(value, p, parts)
            return p

        self._parts[name] = record  # before its fields, which may refer to it
        fields += [self.part(field["type"], f"{_simple(name)}_{field['name']}") for field in schema["fields"]]
        return record


def _simple(name: str) -> str:
    return name.rpartition(".")[2]


def _is_dict(schema: Any, place: str) -> bool:
    """Whether an array of these is a dict: its entries' record is named after the place, and a model's is not."""
    return (
        isinstance(schema, dict)
        and schema["type"] == "record"
        and _simple(schema["name"]).startswith(place)
        and schema["name"].endswith("_entry")
        and tuple(field["name"] for field in schema["fields"]) == _ENTRY
    )


def _read(value: bytes, p: int) -> tuple[int, int]:
    byte = value[p]
    if byte < 0x80:
        return byte >> 1 ^ -(byte & 1), p + 1
    return long(value, p)


def _number(value: bytes, p: int, parts: list[bytes]) -> int:
    _, end = _read(value, p)
    parts.append(value[p:end])
    return end


def _sized(value: bytes, p: int, parts: list[bytes]) -> int:
    size, start = _read(value, p)
    if size < 0 or start + size > len(value):
        raise Malformed
    parts.append(value[p : start + size])
    return start + size


def _fixed(size: int, negative_zero: bytes | None = None) -> _Part:
    zero = bytes(size)

    def fixed(value: bytes, p: int, parts: list[bytes]) -> int:
        if p + size > len(value):
            raise Malformed
        found = value[p : p + size]
        parts.append(zero if found == negative_zero else found)
        return p + size

    return fixed


def _union(branches: list[_Part]) -> _Part:
    def union(value: bytes, p: int, parts: list[bytes]) -> int:
        branch, start = count(value, p) if value[p] >= 0x80 else (value[p] >> 1, p + 1)
        parts.append(value[p:start])
        return branches[branch](value, start, parts)

    return union


def _array(item: _Part) -> _Part:
    def array(value: bytes, p: int, parts: list[bytes]) -> int:
        items: list[bytes] = []
        total = 0
        while True:
            left, p = _block(value, p)
            if not left:
                break
            total += left
            for _ in range(left):
                p = item(value, p, items)
        if total:
            parts.append(varint(total))
            parts += items
        parts.append(b"\0")
        return p

    return array


def _entries(key: _Part, item: _Part) -> _Part:
    def entries(value: bytes, p: int, parts: list[bytes]) -> int:
        found: list[tuple[bytes, bytes]] = []
        while True:
            left, p = _block(value, p)
            if not left:
                break
            for _ in range(left):
                pieces: list[bytes] = []
                p = key(value, p, pieces)
                key_bytes = b"".join(pieces)
                pieces = []
                p = item(value, p, pieces)
                found.append((key_bytes, b"".join(pieces)))
        if found:
            parts.append(varint(len(found)))
            found.sort(key=_key_of)
            for entry in found:
                parts += entry
        parts.append(b"\0")
        return p

    return entries


def _key_of(entry: tuple[bytes, bytes]) -> bytes:
    return entry[0]


def _block(value: bytes, p: int) -> tuple[int, int]:
    left, p = _read(value, p)
    if left < 0:  # the size of the block in bytes follows, for those who skip it
        left = -left
        _, p = _read(value, p)
    if left > len(value) - p:  # an item takes a byte at least, or a few bytes could stand for very many
        raise Malformed
    return left, p
