"""Measuring how deep a body nests, before a reader written in C would follow it down the stack."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from eventsource.schemas.fingerprint import PRIMITIVES
from eventsource.schemas.schema_check import named_schemas, refers_to_itself

_FIXED_SIZES: Final = {"null": 0, "boolean": 1, "float": 4, "double": 8}


class NestingCheck:
    """For one canonical schema without logical types. `needed` tells whether its bodies can nest without end."""

    def __init__(self, schema: Any) -> None:
        self._schema = schema
        self._named = named_schemas(schema)
        self.needed = refers_to_itself(schema)

    def is_deeper(self, body: bytes, limit: int) -> bool:
        """Whether the body nests deeper than `limit` levels of records, arrays and maps.

        Raises `EOFError`, `IndexError` or `ValueError` for a body that is malformed.
        """
        cursor = Cursor(body)
        # A stack of our own: one iterator over the types still to be read per open level.
        levels: list[Iterator[Any]] = [iter((self._schema,))]
        while levels:
            schema = next(levels[-1], None)
            if schema is None:
                levels.pop()
                continue
            if isinstance(schema, str) and schema not in PRIMITIVES:
                schema = self._named[schema]
            while isinstance(schema, list):
                schema = cursor.branch(schema)
                if isinstance(schema, str) and schema not in PRIMITIVES:
                    schema = self._named[schema]
            if isinstance(schema, str):
                cursor.skip(schema)
                continue
            level = self._level(schema, cursor)
            if level is not None:
                levels.append(level)
                if len(levels) > limit + 1:
                    return True
        return False

    def _level(self, schema: dict[str, Any], cursor: Cursor) -> Iterator[Any] | None:
        match schema["type"]:
            case "record":
                return iter([field["type"] for field in schema["fields"]])
            case "array":
                return cursor.items((schema["items"],))
            case "map":
                return cursor.items(("string", schema["values"]))
            case "fixed":
                cursor.advance(schema["size"])
            case _:  # an enum
                cursor.long()
        return None


class Cursor:
    """A place in a body. Its methods raise `EOFError`, `IndexError` or `ValueError` for what is malformed."""

    def __init__(self, body: bytes, start: int = 0) -> None:
        self._body = body
        self._position = start

    def long(self) -> int:
        shift = result = 0
        while True:
            byte = self._body[self._position]
            self._position += 1
            result |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return (result >> 1) ^ -(result & 1)
            shift += 7
            if shift > 63:
                raise ValueError("a number of more than 64 bits")

    def advance(self, size: int) -> None:
        if size < 0 or self._position + size > len(self._body):
            raise EOFError("the body ends early")
        self._position += size

    def skip(self, primitive: str) -> None:
        if primitive in ("int", "long"):
            self.long()
        elif primitive in ("string", "bytes"):
            self.advance(self.long())
        else:
            self.advance(_FIXED_SIZES[primitive])

    def branch(self, union: list[Any]) -> Any:
        index = self.long()
        if index < 0:
            raise IndexError("a union has no branch with a negative number")
        return union[index]

    def items(self, types: tuple[Any, ...]) -> Iterator[Any]:
        while count := self.long():
            if count < 0:
                count = -count
                self.long()  # the block's size in bytes, which a reader that reads all has no use for
            for _ in range(count):
                yield from types
