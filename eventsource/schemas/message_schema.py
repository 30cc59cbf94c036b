"""From a message class to its Avro schema."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pydantic

from eventsource.domain.exact import model_shape
from eventsource.domain.shapes import FieldShape, ModelShape
from eventsource.errors import NoExactForm
from eventsource.schemas.avro import Lowered, avro_record_name, lower
from eventsource.schemas.avro_schema import AvroSchema
from eventsource.schemas.dumping import Dumping
from eventsource.schemas.location import FAILURES
from eventsource.schemas.schema_check import named_schemas
from eventsource.schemas.schema_text import SchemaText


def message_schema(
    model: type[pydantic.BaseModel], record_name: str, aliases: Iterable[str] = (), *, role: str = ""
) -> AvroSchema:
    """The Avro schema of a message class under the name that it was given; `role` is what it is registered for.

    Raises:
        NoExactForm: a field or a default value cannot travel exactly; the text names class, field and mend.
        UnresolvedReference: an annotation names a class that is not defined.
        DefinitionError: `record_name` cannot be an Avro name.
    """
    aliases = tuple(aliases)
    shape = model_shape(model)
    lowered = lower(shape, record_name, aliases)
    text = SchemaText.of(lowered.schema)
    dumping = Dumping(shape, text.schema())
    _add_defaults(lowered, dumping)
    names = tuple(avro_record_name(name) for name in (record_name, *aliases))
    if role:
        text = replace(text, roles=frozenset({role}))
    return AvroSchema(shape, text, lowered.schema, names, dumping)


def _add_defaults(lowered: Lowered, dumping: Dumping) -> None:
    """Default values into the full schema, where Avro can spell them; a default factory's cannot be known."""
    named = _by_simple_name(lowered.schema)
    for shape, record in lowered.records.items():
        for field, written in zip(shape.fields, record["fields"], strict=True):
            if field.info.is_required() or field.info.default_factory is not None:
                continue
            default = _dumped_default(shape, field, dumping)
            with contextlib.suppress(_Unspeakable):
                written["default"] = _spell_default(default, written["type"], named)


def _by_simple_name(schema: Any) -> dict[str, Any]:
    """Within one message no two names are alike, so the namespace can be left out."""
    return {name.rpartition(".")[2]: named for name, named in named_schemas(schema).items()}


def _dumped_default(shape: ModelShape, field: FieldShape, dumping: Dumping) -> Any:
    try:
        return dumping.field(shape, field.name)(field.info.default)
    except FAILURES as error:
        raise NoExactForm(
            f"{shape.model.__qualname__}.{field.name}: its default is not a value of its type ({error}): "
            "change the default or the annotation"
        ) from error


class _Unspeakable(Exception):
    """A default that JSON, or the first branch of a union, cannot hold."""


def _spell_default(value: Any, schema: Any, named: dict[str, Any]) -> Any:
    """The JSON form of a dumped value, as the specification's "default" wants it."""
    if isinstance(schema, str):
        schema = named.get(schema.rpartition(".")[2], schema)
    if isinstance(schema, list):
        return _spell_branch(value, schema, named)
    match value:
        case bytes():
            return value.decode("iso-8859-1")
        case float() if not math.isfinite(value):
            raise _Unspeakable
        case list():
            return [_spell_default(item, schema["items"], named) for item in value]
        case dict() if schema["type"] == "map":
            return {key: _spell_default(item, schema["values"], named) for key, item in value.items()}
        case dict():
            return {
                field["name"]: _spell_default(value[field["name"]], field["type"], named) for field in schema["fields"]
            }
        case _:
            return value


def _spell_branch(value: Any, union: list[Any], named: dict[str, Any]) -> Any:
    first = union[0]
    tag = first if isinstance(first, str) else first.get("name", first["type"])
    if value is None and tag == "null":
        return None
    if value is None or value[0].rpartition(".")[2] != tag.rpartition(".")[2]:
        raise _Unspeakable
    return _spell_default(value[1], first, named)
