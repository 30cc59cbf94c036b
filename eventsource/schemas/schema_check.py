"""What is checked of a schema that somebody else wrote, before anything follows it.

Every check takes time in proportion to the text: the number of ways through nested references grows exponentially with it.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final, NoReturn

from eventsource.errors import DecodeError
from eventsource.schemas.fingerprint import NAMED, PRIMITIVES
from eventsource.schemas.limits import Limits

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MOST_DIGITS: Final = 10_000
"""Of a Decimal: ten to the power of its digits is computed."""
_MOST_FIXED_BYTES: Final = 1 << 20


def check_text(text: bytes, limits: Limits) -> None:
    """Refuses a text out of bounds without parsing it: a parser follows the brackets down its stack."""
    if len(text) > limits.schema_bytes:
        raise DecodeError(f"a schema of {len(text)} bytes is larger than the {limits.schema_bytes} that are read")
    depth = deepest = objects = 0
    in_string = escaped = False
    for byte in text:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in b"[{":
            depth += 1
            objects += byte == 0x7B
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    if deepest > limits.schema_depth:
        raise DecodeError(f"a schema nests deeper than the {limits.schema_depth} levels that are read")
    if objects > limits.schema_types:
        raise DecodeError(
            f"a schema of {objects} types and fields has more than the {limits.schema_types} that are read"
        )


def parse_json(text: bytes) -> Any:
    """The text as JSON data. Raises `ValueError` for what is none, `NaN` and infinities included."""
    return json.loads(text, parse_constant=_no_number)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def check_schema(schema: dict[str, Any], limits: Limits) -> None:
    """Refuses a canonical schema that does not mean what it seems to, or that cannot be followed. Raises `DecodeError`."""
    named = named_schemas(schema)
    if len(named) > limits.schema_names:
        raise DecodeError(
            f"a schema of {len(named)} records and enums has more than the {limits.schema_names} that are read"
        )
    _check_names(named)
    for part in walk(schema):
        _check_part(part)
    _check_items(schema, named)
    _check_parts(named, limits)


def walk(schema: Any) -> Iterator[Any]:
    """Every type in a canonical schema, each where it is written out, and every reference by name once for each place."""
    left = [schema]
    while left:
        part = left.pop()
        yield part
        left += inner_types(part)


def inner_types(schema: Any) -> list[Any]:
    """The types that a type is made of, as they are written: nothing is followed by its name."""
    if isinstance(schema, list):
        return schema
    if isinstance(schema, str):
        return []
    found = [field["type"] for field in schema.get("fields", ())]
    return found + [schema[part] for part in ("items", "values") if part in schema]


def named_schemas(schema: Any) -> dict[str, Any]:
    """Every record, enum and fixed of a canonical schema, by full name."""
    return {part["name"]: part for part in walk(schema) if isinstance(part, dict) and part["type"] in NAMED}


def refers_to_itself(schema: Any) -> bool:
    """Whether a record leads back to itself, so that a message can nest without end."""
    named = named_schemas(schema)
    graph = TopologicalSorter({name: set(_names_in(part)) for name, part in named.items()})
    try:
        graph.prepare()
    except CycleError:
        return True
    return False


def _names_in(named: Any) -> Iterator[str]:
    """The named types that a named type is directly made of, through arrays, maps and unions."""
    left = inner_types(named)
    while left:
        part = left.pop()
        if isinstance(part, str):
            if part not in PRIMITIVES:
                yield part
        elif isinstance(part, dict) and part["type"] in NAMED:
            yield part["name"]
        else:
            left += inner_types(part)


def types_without_bytes(named: dict[str, Any]) -> frozenset[str]:
    """The named types whose values take no byte: records of nothing but nulls, themselves and such records."""
    holders: dict[str, list[str]] = {}
    taking: deque[str] = deque()
    for name, schema in named.items():
        if schema["type"] == "record":
            fields = [field["type"] for field in schema["fields"]]
            for field in fields:
                holders.setdefault(_name_of(field), []).append(name)
            takes = any(_name_of(field) not in named and _name_of(field) != "null" for field in fields)
        else:
            takes = schema["type"] == "enum" or schema["size"] > 0
        if takes:
            taking.append(name)
    found = set(taking)
    while taking:
        for holder in holders.get(taking.popleft(), ()):
            if holder not in found:
                found.add(holder)
                taking.append(holder)
    return frozenset(named) - found


def _name_of(schema: Any) -> str:
    if isinstance(schema, dict):
        return str(schema["name"] if schema["type"] in NAMED else schema["type"])
    return schema if isinstance(schema, str) else "union"


def _check_items(schema: Any, named: dict[str, Any]) -> None:
    """Refuses arrays whose items take no byte: a few bytes could claim 2**40 of them."""
    empty = types_without_bytes(named) | {"null"}
    for part in walk(schema):
        if isinstance(part, dict) and part["type"] == "array" and _name_of(part["items"]) in empty:
            raise DecodeError("the schema has an array whose items take no byte: its length could not be trusted")


def _check_parts(named: dict[str, Any], limits: Limits) -> None:
    """Refuses records that are too many parts without a byte of theirs: each that holds another one twice doubles them."""
    graph = {
        name: [_name_of(field["type"]) for field in schema["fields"] if _name_of(field["type"]) in named]
        for name, schema in named.items()
        if schema["type"] == "record"
    }
    parts: dict[str, int] = {}
    try:
        for name in TopologicalSorter(graph).static_order():
            parts[name] = 1 + sum(parts[inner] for inner in graph.get(name, ()))
            if parts[name] > limits.record_parts:
                raise DecodeError(
                    f"the schema has a record of more than the {limits.record_parts} records that are read"
                )
    except CycleError:
        raise DecodeError("the schema has a record that always holds itself: no message can be one") from None


def _check_names(named: dict[str, Any]) -> None:
    """fastavro does not look at the names of fields and symbols."""
    for full_name, schema in named.items():
        fields = [field["name"] for field in schema.get("fields", ())]
        for name in (*full_name.split("."), *fields, *schema.get("symbols", ())):
            if not _NAME.fullmatch(name):
                raise DecodeError("the schema has a name that Avro does not allow: find out who wrote it")
        if len(set(fields)) != len(fields):
            raise DecodeError("the schema has a record with two fields of one name: find out who wrote it")


def _check_part(part: Any) -> None:
    """fastavro does not look at the bounds of numbers, nor at what a union may hold."""
    if isinstance(part, list):
        kinds = [_name_of(branch) for branch in part]
        if not part or "union" in kinds or len(set(kinds)) != len(kinds):
            raise DecodeError("the schema has a union that Avro does not allow: find out who wrote it")
    elif isinstance(part, dict):
        logical = part.get("logicalType", "")
        digits, places = part.get("precision", 1), part.get("scale", 0)
        if not isinstance(logical, str) or type(digits) is not int or type(places) is not int:
            raise DecodeError("the schema has a logical type that Avro does not allow: find out who wrote it")
        if logical == "decimal" and "precision" not in part:
            raise DecodeError("the schema has a decimal without precision: find out who wrote it")
        if not 0 <= places <= digits <= _MOST_DIGITS or digits == 0:
            raise DecodeError(f"the schema has a decimal of more than {_MOST_DIGITS} digits, or none that Avro allows")
        if part["type"] == "fixed" and not (type(part["size"]) is int and 0 <= part["size"] <= _MOST_FIXED_BYTES):
            raise DecodeError("the schema has a fixed of a size that is not read: find out who wrote it")
