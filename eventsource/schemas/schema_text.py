"""A schema as it travels and is stored: its canonical text, under its fingerprint."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final, Self

import fastavro

from eventsource.errors import DecodeError, NoExactForm
from eventsource.schemas.fingerprint import canonical_form, fingerprint
from eventsource.schemas.limits import DEFAULT_LIMITS, Limits
from eventsource.schemas.schema_check import check_schema, check_text, parse_json

EVENT_ROLE: Final = "event:"
"""The role of an aggregate's events begins so; its name follows."""
COMMAND_ROLE: Final = "command"


@dataclass(frozen=True, slots=True)
class SchemaText:
    """A record schema's canonical JSON text (it holds all that a reader of the bytes needs), and what it hashes to.

    `name` is the record's full name. Default values and aliases are no part of it: they are the reader's business.
    """

    fingerprint: int
    name: str
    text: str
    roles: frozenset[str] = field(default=frozenset(), compare=False)
    """What it is used for, such as `event:account`, as far as that was registered. It is no part of the schema."""

    @classmethod
    def of(cls, schema: Any) -> Self:
        """The text of a record schema that this process made. Raises `NoExactForm` where no reader would take it."""
        try:
            return cls.parse(canonical_form(schema).encode())
        except DecodeError as error:
            raise NoExactForm(
                f"{schema.get('name')}: other processes would refuse its schema ({error}): divide it into smaller classes"
            ) from error

    @classmethod
    def parse(cls, text: bytes, limits: Limits = DEFAULT_LIMITS) -> Self:
        """The schema that somebody else wrote. Raises `DecodeError` if it is none, is not canonical or is out of bounds."""
        check_text(text, limits)
        try:
            schema = parse_json(text)
            canonical = canonical_form(schema)
            is_canonical = canonical.encode() == text
            if is_canonical:
                fastavro.parse_schema(schema)
        except Exception as error:  # anybody's text leads anywhere: whatever is raised, it is no schema
            raise DecodeError(
                f"the text is no Avro schema ({type(error).__name__}): find out who wrote it to the schemas topic"
            ) from error
        if not is_canonical:
            raise DecodeError("the schema is not in canonical form: only the framework may write to the schemas topic")
        if not isinstance(schema, dict) or schema["type"] != "record":
            raise DecodeError("the schema is not a record's: only the framework may write to the schemas topic")
        check_schema(schema, limits)
        return cls(fingerprint(canonical), schema["name"], canonical)

    def schema(self) -> dict[str, Any]:
        """The schema as JSON data, logical types included."""
        schema: dict[str, Any] = json.loads(self.text)
        return schema

    @property
    def hex(self) -> str:
        """The fingerprint in 16 hexadecimal digits: the key in the schemas topic, and how errors name it."""
        return f"{self.fingerprint:016x}"


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
