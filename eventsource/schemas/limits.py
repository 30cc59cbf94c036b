"""How much a reader takes from bytes and schemas that it did not write itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that are checked before anything is decoded, so that a few bytes cannot cost much memory or the stack."""

    body_bytes: int = 16 * 1024 * 1024
    schema_bytes: int = 256 * 1024
    schema_depth: int = 64
    """Levels of brackets in a schema's JSON text."""
    nesting: int = 64
    """Levels of records, lists and dicts in a message whose schema refers to itself."""


DEFAULT_LIMITS = Limits()
