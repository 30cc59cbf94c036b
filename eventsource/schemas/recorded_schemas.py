"""Schemas in a file, for a check without a broker: a team commits it beside its code."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from eventsource.domain import Aggregate
from eventsource.errors import DecodeError, SettingsError
from eventsource.schemas.message_schema import message_schema
from eventsource.schemas.schema_text import EVENT_ROLE, SchemaText


def todays_events(aggregates: Mapping[str, type[Aggregate[Any]]]) -> list[SchemaText]:
    """The schemas that today's event classes write with."""
    return [
        replace(
            message_schema(event, event.message_name, event.message_aliases).text, roles=frozenset({EVENT_ROLE + name})
        )
        for name, aggregate in aggregates.items()
        for event in dict.fromkeys(aggregate.__definition__.events.values())
    ]


def read_schemas(file: Path) -> list[SchemaText]:
    """What is in a file. Raises `SettingsError` for one that cannot be read or that `write_schemas` did not write."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        found = [
            replace(SchemaText.parse(_spelled(each["schema"])), roles=frozenset(map(str, each["roles"])))
            for each in document["schemas"]
        ]
    except OSError as error:
        raise SettingsError(
            f"{file} cannot be read ({error.strerror}): write it with `eventsource schemas record`"
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError, DecodeError) as error:
        raise SettingsError(
            f"{file} holds no recorded schemas ({error}): take it from version control, or write it with `eventsource schemas record`"
        ) from error
    return found


def write_schemas(file: Path, schemas: Iterable[SchemaText]) -> int:
    """Writes schemas, each once, and returns how many there are. Raises `SettingsError` where the file cannot be written."""
    merged: dict[int, SchemaText] = {}
    for schema in schemas:
        known = merged.get(schema.fingerprint, schema)
        merged[schema.fingerprint] = replace(schema, roles=known.roles | schema.roles)
    ordered = sorted(merged.values(), key=lambda each: (each.name, each.fingerprint))
    entries = [{"roles": sorted(each.roles), "schema": each.schema()} for each in ordered]
    try:
        file.write_text(json.dumps({"schemas": entries}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{file} cannot be written ({error.strerror}): choose another --file") from error
    return len(ordered)


def _spelled(schema: Any) -> bytes:
    return json.dumps(schema, separators=(",", ":"), ensure_ascii=False).encode()
