"""What a body takes in memory once it is read: measured on its bytes, before anything is made of them.

A byte may stand for a record of a kilobyte, and compression makes a thousand such bytes one. What a reader refuses, a writer
refuses too: the measure is of the bytes and their schema alone, whatever today's class is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from eventsource.errors import DecodeError, EncodeError
from eventsource.schemas.fingerprint import PRIMITIVES
from eventsource.schemas.limits import Limits
from eventsource.schemas.nesting import Cursor
from eventsource.schemas.schema_check import inner_types, named_schemas, refers_to_itself, walk

# Bytes in memory, rounded up: an instance with its dict and its set of fields, a slot in them, and what values take.
_RECORD: Final = 450
_SLOT: Final = 100
_ITEM: Final = 16
_ENTRY: Final = 150
_CONTAINER: Final = 100
_LOGICAL: Final = 100
_SIZED: Final = 60
_WIDEST: Final = 4  # of a character beyond ASCII, all characters of a str take as much as the widest
_DEEPEST: Final = 2_000
_ANY: Final = 1 << 62
_WIRE_BYTES: Final = {"null": 0, "float": 4, "double": 8}
_PRIMITIVES: Final = {
    "null": 8,
    "boolean": 8,
    "int": 36,
    "long": 36,
    "float": 32,
    "double": 32,
    "string": 60,
    "bytes": 60,
}


@dataclass(slots=True)
class Taken:
    """What the values of one record take together: items of lists, sets and dicts, and bytes of memory."""

    elements: int = 0
    memory_bytes: int = 0


class Budget:
    """The bounds of one written schema's bodies.

    `safe_bytes`: how long a body with its prefix may be that cannot exceed them, so that it need not be measured.
    """

    def __init__(self, schema: dict[str, Any], skip: int, limits: Limits) -> None:
        self._schema = schema
        self._name = schema["name"]
        self._skip = skip
        self._limits = limits
        self._most_elements = _ANY if limits.elements is None else limits.elements
        self._most_bytes = _ANY if limits.memory_bytes is None else limits.memory_bytes
        self._named = named_schemas(schema)
        self._recursive = refers_to_itself(schema)
        self._sizes: dict[int, _Size] = {}
        self.safe_bytes = self._safe_bytes()

    def check_written(self, value: bytes) -> None:
        """Raises `EncodeError` for a value that no reader would take."""
        reason = self._excess(value)
        if reason is not None:
            raise EncodeError(f"{self._name}: {reason}: divide it, or keep large data elsewhere and refer to it")

    def check_read(self, value: bytes) -> None:
        """Raises `DecodeError` for a value that takes too much. One that is malformed is left to its reader."""
        reason = self._excess(value)
        if reason is not None:
            raise DecodeError(f"{self._name}: {reason}: nothing is made of it; find out who wrote it")

    def excess(self, value: bytes, taken: Taken) -> str | None:
        """Adds what a value takes to what others took. What is exceeded with it, if anything is."""
        meter = _Meter(value, self._skip)
        meter.memory_bytes, meter.elements = taken.memory_bytes, taken.elements
        try:
            self._measure(meter)
        except _Exceeded:
            if meter.elements > self._most_elements:
                return f"it has more than the {self._most_elements:,} items that a reader takes"
            return f"it takes more than the {self._most_bytes >> 20} MiB of memory that a reader allows"
        except (EOFError, IndexError, ValueError):
            pass  # malformed, as its reader says
        taken.memory_bytes, taken.elements = meter.memory_bytes, meter.elements
        return None

    def _excess(self, value: bytes) -> str | None:
        return None if len(value) <= self.safe_bytes else self.excess(value, Taken())

    def _measure(self, meter: _Meter) -> None:
        levels: list[Iterator[Any]] = [iter((self._schema,))]
        while levels:
            schema = next(levels[-1], None)
            if schema is None:
                levels.pop()
                continue
            schema = self._resolve(schema)
            if isinstance(schema, list):
                schema = self._resolve(meter.branch(schema))
            if isinstance(schema, str):
                self._take(meter, meter.value(schema))
                continue
            kind = schema["type"]
            if kind == "record":
                fields = schema["fields"]
                self._take(meter, _RECORD + _SLOT * len(fields))
                levels.append(iter([field["type"] for field in fields]))
            elif kind in ("array", "map"):
                self._take(meter, _CONTAINER)
                levels.append(self._items(meter, schema))
            elif kind == "enum":
                meter.long()
            elif kind == "fixed":
                meter.advance(schema["size"])
                self._take(meter, _SIZED + schema["size"])
            else:
                self._take(meter, _LOGICAL + meter.value(kind))
            if len(levels) > _DEEPEST:
                return  # deeper than any reader follows it

    def _items(self, meter: _Meter, schema: dict[str, Any]) -> Iterator[Any]:
        is_map = schema["type"] == "map"
        item = schema["values"] if is_map else schema["items"]
        types = ("string", item) if is_map else (item,)
        each = (_ENTRY if is_map else _ITEM) + (0 if self._recursive else self._folded(item).least)
        while count := meter.long():
            if count < 0:
                count = -count
                meter.long()
            meter.elements += count
            # A block says how many items it has before the first of them, and each takes as much as this at least.
            if meter.memory_bytes + count * each > self._most_bytes:
                raise _Exceeded
            self._take(meter, count * (_ENTRY if is_map else _ITEM))
            for _ in range(count):
                yield from types

    def _take(self, meter: _Meter, memory_bytes: int) -> None:
        meter.memory_bytes += memory_bytes
        if meter.memory_bytes > self._most_bytes or meter.elements > self._most_elements:
            raise _Exceeded

    # --- what need not be measured ----------------------------------------------------------------------------------

    def _safe_bytes(self) -> int:
        """With as many bytes as this, even the type that makes the most of a byte does not exceed the bounds."""
        limits = self._limits
        if limits.elements is None and limits.memory_bytes is None:
            return limits.body_bytes
        if self._recursive:  # the reference codec reads it, which takes longer than to measure it
            return 0
        worst = self._folded(self._schema).most
        ratio = _WIDEST + _SIZED + _LOGICAL
        for part in walk(self._schema):
            if isinstance(part, dict) and part["type"] in ("array", "map"):
                item = part["items"] if part["type"] == "array" else part["values"]
                found = self._folded(item)
                ratio = max(ratio, (found.most + _ENTRY) // max(1, found.wire_bytes))
        if worst > self._most_bytes // 2:
            return 0
        if ratio == _WIDEST + _SIZED + _LOGICAL and not self._has_items():
            return (
                limits.body_bytes
                if _WIDEST * limits.body_bytes + worst <= self._most_bytes
                else limits.body_bytes // _WIDEST
            )
        return min(limits.body_bytes, self._most_elements, (self._most_bytes - worst) // ratio)

    def _has_items(self) -> bool:
        return any(isinstance(part, dict) and part["type"] in ("array", "map") for part in walk(self._schema))

    def _folded(self, schema: Any) -> _Size:
        schema = self._resolve(schema)
        if isinstance(schema, str):
            return _Size(_PRIMITIVES[schema], _PRIMITIVES[schema], _WIRE_BYTES.get(schema, 1))
        key = id(schema)
        if key not in self._sizes:
            self._sizes[key] = self._fold(schema)
        return self._sizes[key]

    def _fold(self, schema: Any) -> _Size:
        if isinstance(schema, list):
            parts = [self._folded(branch) for branch in schema]
            least, wire_bytes = min(part.least for part in parts), min(part.wire_bytes for part in parts)
            return _Size(least, max(part.most for part in parts), 1 + wire_bytes)
        match schema["type"]:
            case "record":
                own = _RECORD + _SLOT * len(schema["fields"])
                parts = [self._folded(part) for part in inner_types(schema)]
                least, most = sum(part.least for part in parts), sum(part.most for part in parts)
                return _Size(own + least, own + most, sum(part.wire_bytes for part in parts))
            case "array" | "map":
                return _Size(_CONTAINER, _CONTAINER, 1)
            case "enum":
                return _Size(8, 8, 1)
            case "fixed":
                return _Size(_SIZED + schema["size"], _SIZED + schema["size"], schema["size"])
            case primitive:
                taken = _LOGICAL + _PRIMITIVES[primitive]
                return _Size(taken, taken, _WIRE_BYTES.get(primitive, 1))

    def _resolve(self, schema: Any) -> Any:
        return self._named[schema] if isinstance(schema, str) and schema not in PRIMITIVES else schema


@dataclass(frozen=True, slots=True)
class _Size:
    """What a type's values take in memory without what is in their texts and containers, and the fewest bytes that they are."""

    least: int
    most: int
    wire_bytes: int


class _Exceeded(Exception):  # never leaves this module
    """The bounds are passed."""


class _Meter(Cursor):
    """A place in a body, and what was counted up to there."""

    def __init__(self, body: bytes, start: int) -> None:
        super().__init__(body, start)
        self.memory_bytes = 0
        self.elements = 0

    def value(self, primitive: str) -> int:
        """Passes over a primitive; what it takes in memory."""
        if primitive not in ("string", "bytes"):
            self.skip(primitive)
            return _PRIMITIVES[primitive]
        size = self.long()
        start = self._position
        self.advance(size)
        wide = primitive == "string" and not self._body[start : self._position].isascii()
        return _SIZED + size * (_WIDEST if wide else 1)
