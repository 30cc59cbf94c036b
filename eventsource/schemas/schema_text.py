"""A schema as it travels and is stored: its canonical text, under its fingerprint."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final, Self

import fastavro
from fastavro.schema import SchemaParseException, UnknownType

from eventsource.errors import DecodeError
from eventsource.schemas.fingerprint import NAMED, canonical_form, fingerprint
from eventsource.schemas.limits import DEFAULT_LIMITS, Limits

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class SchemaText:
    """A record schema's canonical JSON text (it holds all that a reader of the bytes needs), and what it hashes to.

    `name` is the record's full name. Default values and aliases are no part of it: they are the reader's business.
    """

    fingerprint: int
    name: str
    text: str

    @classmethod
    def of(cls, schema: Any) -> Self:
        """The text of a record schema that this process made."""
        text = canonical_form(schema)
        return cls(fingerprint(text), json.loads(text)["name"], text)

    @classmethod
    def parse(cls, text: bytes, limits: Limits = DEFAULT_LIMITS) -> Self:
        """The schema that somebody else wrote. Raises `DecodeError` if it is none, is not canonical or is out of bounds."""
        if len(text) > limits.schema_bytes:
            raise DecodeError(f"a schema of {len(text)} bytes is larger than the {limits.schema_bytes} that are read")
        if _depth(text) > limits.schema_depth:
            raise DecodeError(f"a schema nests deeper than the {limits.schema_depth} levels that are read")
        try:
            schema = json.loads(text)
            fastavro.parse_schema(schema)
            canonical = canonical_form(schema)
        except (ValueError, TypeError, KeyError, AttributeError, SchemaParseException, UnknownType) as error:
            raise DecodeError(
                f"the text is no Avro schema ({type(error).__name__}): find out who wrote it to the schemas topic"
            ) from error
        if canonical.encode() != text:
            raise DecodeError("the schema is not in canonical form: only the framework may write to the schemas topic")
        if not isinstance(schema, dict) or schema["type"] != "record":
            raise DecodeError("the schema is not a record's: only the framework may write to the schemas topic")
        named = _named(schema, {})
        _check_names(named)
        _check_items(schema, named)
        return cls(fingerprint(canonical), schema["name"], canonical)

    def schema(self) -> dict[str, Any]:
        """The schema as JSON data, logical types included."""
        schema: dict[str, Any] = json.loads(self.text)
        return schema

    @property
    def hex(self) -> str:
        """The fingerprint in 16 hexadecimal digits: the key in the schemas topic, and how errors name it."""
        return f"{self.fingerprint:016x}"


def named_schemas(schema: Any) -> dict[str, Any]:
    """Every record, enum and fixed of a canonical schema, by full name."""
    return _named(schema, {})


def _named(schema: Any, found: dict[str, Any]) -> dict[str, Any]:
    if isinstance(schema, list):
        for branch in schema:
            _named(branch, found)
    elif isinstance(schema, dict):
        if schema["type"] in NAMED:
            found[schema["name"]] = schema
        for field in schema.get("fields", ()):
            _named(field["type"], found)
        _named(schema.get("items"), found)
        _named(schema.get("values"), found)
    return found


def _check_names(named: dict[str, Any]) -> None:
    """fastavro does not look at the names of fields and symbols."""
    for full_name, schema in named.items():
        fields = [field["name"] for field in schema.get("fields", ())]
        for name in (*full_name.split("."), *fields, *schema.get("symbols", ())):
            if not _NAME.fullmatch(name):
                raise DecodeError("the schema has a name that Avro does not allow: find out who wrote it")


def _depth(text: bytes) -> int:
    """Levels of brackets, without parsing: json.loads would recurse. Brackets in strings only make it stricter."""
    depth = deepest = 0
    for byte in text:
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def _check_items(schema: Any, named: dict[str, Any]) -> None:
    """Refuses arrays whose items take no byte: a few bytes could claim 2**40 of them."""
    if isinstance(schema, list):
        for branch in schema:
            _check_items(branch, named)
    elif isinstance(schema, dict):
        if schema["type"] == "array" and _takes_no_byte(schema["items"], named, frozenset()):
            raise DecodeError("the schema has an array whose items take no byte: its length could not be trusted")
        for field in schema.get("fields", ()):
            _check_items(field["type"], named)
        _check_items(schema.get("items"), named)
        _check_items(schema.get("values"), named)


def _takes_no_byte(schema: Any, named: dict[str, Any], seen: frozenset[str]) -> bool:
    if isinstance(schema, list):
        return False
    if isinstance(schema, str):
        if schema not in named:
            return schema == "null"
        schema = named[schema]
    if schema["type"] == "fixed":
        return bool(schema["size"] == 0)
    if schema["type"] != "record":
        return bool(schema["type"] == "null")
    if schema["name"] in seen:
        return True
    inner = seen | {schema["name"]}
    return all(_takes_no_byte(field["type"], named, inner) for field in schema["fields"])


def record_fields(schema: Any) -> set[tuple[str, str]]:
    """The names of all records in an Avro schema, each with the name of each of its fields."""
    if isinstance(schema, list):
        return set().union(*map(record_fields, schema))
    if not isinstance(schema, dict):
        return set()
    found = {(str(schema["name"]), str(field["name"])) for field in schema.get("fields", ())}
    parts = [field["type"] for field in schema.get("fields", ())]
    parts += [schema[name] for name in ("type", "items", "values") if name in schema]
    return found.union(*map(record_fields, parts))
