"""The canonical text of an Avro schema, and its 64-bit fingerprint.

The text is the specification's Parsing Canonical Form (Avro 1.12, "Transforming into Parsing Canonical Form") with
`logicalType`, `precision` and `scale` kept: without them decimal(18, 2) and decimal(18, 4) would share a fingerprint, and
5.00 be read as 0.0500. The fingerprint is CRC-64-AVRO (Rabin) of the text's UTF-8 bytes, as the specification defines it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from fastavro.schema import fingerprint as _fastavro_fingerprint

PRIMITIVES: Final = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
NAMED: Final = frozenset({"record", "enum", "fixed"})
LOGICAL_ATTRIBUTES: Final = ("logicalType", "precision", "scale")

_ORDER: Final = ("name", "type", "fields", "symbols", "items", "values", "size")


def canonical_form(schema: Any, *, keep: tuple[str, ...] = LOGICAL_ATTRIBUTES) -> str:
    """The canonical JSON text of a schema; `keep=()` gives the specification's own Parsing Canonical Form."""
    return json.dumps(_canonical(schema, "", keep), separators=(",", ":"), ensure_ascii=False)


def without_logical_types(schema: Any) -> Any:
    """The same schema as plain Avro: what a value's bytes look like, and nothing of what they mean."""
    return _canonical(schema, "", ())


def fingerprint(canonical_text: str) -> int:
    """CRC-64-AVRO of a canonical text: an unsigned 64-bit number."""
    # fastavro returns the hex digits of the little-endian bytes, as Java does.
    return int.from_bytes(bytes.fromhex(_fastavro_fingerprint(canonical_text, "CRC-64-AVRO")), "little")


def _canonical(schema: Any, namespace: str, keep: tuple[str, ...]) -> Any:
    if isinstance(schema, str):
        return schema if schema in PRIMITIVES else _full_name(schema, None, namespace)
    if isinstance(schema, list):
        return [_canonical(branch, namespace, keep) for branch in schema]
    kept: dict[str, Any] = {name: schema[name] for name in keep if name in schema}
    kind = schema["type"]
    if kind in PRIMITIVES:
        return {"type": kind, **kept} if kept else kind
    if not isinstance(kind, str) or kind not in NAMED | {"array", "map"}:
        return _canonical(kind, namespace, keep)
    found: dict[str, Any] = {"type": kind}
    if kind in NAMED:
        found["name"] = _full_name(schema["name"], schema.get("namespace"), namespace)
        namespace = found["name"].rpartition(".")[0]
    found.update(_parts(schema, namespace, keep))
    return {name: found[name] for name in _ORDER if name in found} | kept


def _parts(schema: Mapping[str, Any], namespace: str, keep: tuple[str, ...]) -> dict[str, Any]:
    match schema["type"]:
        case "record":
            return {
                "fields": [
                    {"name": field["name"], "type": _canonical(field["type"], namespace, keep)}
                    for field in schema["fields"]
                ]
            }
        case "enum":
            return {"symbols": list(schema["symbols"])}
        case "array":
            return {"items": _canonical(schema["items"], namespace, keep)}
        case "map":
            return {"values": _canonical(schema["values"], namespace, keep)}
        case _:
            return {"size": int(schema["size"])}


def _full_name(name: str, own_namespace: str | None, enclosing: str) -> str:
    if "." in name:
        return name
    namespace = enclosing if own_namespace is None else own_namespace
    return f"{namespace}.{name}" if namespace else name
