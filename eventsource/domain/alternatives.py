"""Which alternatives of a union JSON distinguishes, in which a rejection's details travel.

Read off pydantic's core schema, so that models, dataclasses, aliases and types of others' are seen as pydantic sees them.
https://docs.pydantic.dev/latest/concepts/unions/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal, get_args

from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import CoreSchema

from eventsource.errors import DefinitionError

JsonKind = Literal["null", "boolean", "integer", "number", "string", "array", "object"]

_ANY: Final = frozenset(get_args(JsonKind))
_NATIVE: Final[Mapping[str, JsonKind]] = {
    "none": "null",
    "bool": "boolean",
    "int": "integer",
    "float": "number",
    "str": "string",
}
"""Core types whose values are JSON's own: two alternatives of one of them give back the very same value."""
_NATIVE_TYPES: Final[Mapping[type, JsonKind]] = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
}
_LABELS: Final = {"decimal": "Decimal", "uuid": "UUID", "any": "Any", "none": "None", "literal": "Literal"}
_NO_SCHEMAS: Final = frozenset({"metadata", "serialization", "default", "cls", "config", "expected"})


def check_alternatives(model: type[BaseModel], where: str) -> None:
    """Raises `DefinitionError`, beginning with `where`, for a union in a model of which JSON does not distinguish two members.

    A union with a discriminator passes: its members carry what distinguishes them.
    """
    schema: Any = model.__pydantic_core_schema__
    definitions = schema["definitions"] if schema["type"] == "definitions" else []
    names = {each["ref"]: each for each in definitions}
    for field, choices in _unions(schema, model):
        found = [_Choice(choice, names) for choice in choices]
        for index, one in enumerate(found):
            for other in found[:index]:
                if one.is_taken_for(other):
                    raise DefinitionError(
                        f"{where}: field {field!r}: {other.label} and {one.label} in one union are both a JSON {one.shared(other)} once "
                        "written and cannot be distinguished: keep one of them, or make each a model with a Literal field and name that "
                        "field with Field(discriminator=…)"
                    )


def _unions(schema: Any, top: type[BaseModel], owner: str = "", field: str = "") -> Iterator[tuple[str, list[Any]]]:
    """The choices of every union below, with the name of the field that it is in; of a field of another class, with that class's."""
    if isinstance(schema, list | tuple):
        for each in schema:
            yield from _unions(each, top, owner, field)
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "union":
        yield field, [choice[0] if isinstance(choice, tuple) else choice for choice in schema["choices"]]
    if "cls" in schema:
        owner = "" if schema["cls"] is top else f"{schema['cls'].__name__}."
    if schema.get("type") in ("model-fields", "typed-dict", "dataclass-args"):
        fields = schema["fields"]
        for name, each in fields.items() if isinstance(fields, dict) else ((each["name"], each) for each in fields):
            yield from _unions(each, top, owner, f"{owner}{name}")
        return
    for name, each in schema.items():
        if name not in _NO_SCHEMAS:
            yield from _unions(each, top, owner, field)


class _Choice:
    """One alternative: which kinds of JSON its values are, and which of these come back as they were without being converted."""

    def __init__(self, schema: Any, definitions: Mapping[str, Any]) -> None:
        while schema["type"] == "definition-ref":
            schema = definitions[schema["schema_ref"]]
        self.label = _label(schema)
        self._native = _native(schema)
        self._kinds = _kinds_of(schema, definitions) | _taken_for(schema)

    def is_taken_for(self, other: _Choice) -> bool:
        return bool(self._shared(other))

    def shared(self, other: _Choice) -> str:
        return " or ".join(sorted(self._shared(other)))

    def _shared(self, other: _Choice) -> frozenset[str]:
        return (self._kinds & other._kinds) - (self._native & other._native)


def _native(schema: Any) -> frozenset[str]:
    if schema["type"] == "literal":
        return frozenset(_NATIVE_TYPES[type(value)] for value in schema["expected"] if type(value) in _NATIVE_TYPES)
    return frozenset({_NATIVE[schema["type"]]}) if schema["type"] in _NATIVE else frozenset()


def _taken_for(schema: Any) -> frozenset[str]:
    """Further kinds of JSON that its values are written as now and then, or that pydantic reads as its values."""
    match schema["type"]:
        case "float":
            return frozenset({"string"})  # infinity and NaN
        case "decimal":
            return frozenset({"number"})
        case "enum" if any(isinstance(member.value, int) for member in schema["members"]):
            return frozenset({"number"})
        case "literal":  # to Python 1 equals True
            found = {bool: "integer", int: "boolean"}
            return frozenset(
                found[type(value)] for value in schema["expected"] if type(value) in found and value in (0, 1)
            )
    return frozenset()


def _kinds_of(schema: CoreSchema, definitions: Mapping[str, CoreSchema]) -> frozenset[str]:
    whole: Any = {"type": "definitions", "schema": schema, "definitions": list(definitions.values())}
    try:
        written = GenerateJsonSchema().generate(whole, mode="serialization")
    except PydanticInvalidForJsonSchema:
        return _ANY
    return _kinds(written, written.get("$defs", {}), frozenset())


def _kinds(written: Any, definitions: Mapping[str, Any], seen: frozenset[str]) -> frozenset[str]:
    if not isinstance(written, dict):
        return _ANY
    if "$ref" in written:
        name = written["$ref"].rpartition("/")[2]
        return _ANY if name in seen else _kinds(definitions[name], definitions, seen | {name})
    if "const" in written or "enum" in written:
        return frozenset(_kind_of(value) for value in written.get("enum", [written.get("const")]))
    for name in ("anyOf", "oneOf", "allOf"):
        if name in written:
            return _united(_kinds(each, definitions, seen) for each in written[name])
    if "type" not in written:
        return _ANY
    types = written["type"]
    return frozenset(types) if isinstance(types, list) else frozenset({types})


def _united(kinds: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset().union(*kinds)


def _kind_of(value: object) -> str:
    if type(value) in _NATIVE_TYPES:
        return _NATIVE_TYPES[type(value)]
    return "array" if isinstance(value, list) else "object"


def _label(schema: Any) -> str:
    if "cls" in schema:
        return str(schema["cls"].__name__)
    if "schema" in schema and "_" not in schema["type"]:
        return _label(schema["schema"]) if isinstance(schema["schema"], dict) else str(schema["type"])
    return _LABELS.get(schema["type"], str(schema["type"]))
