"""How much a reader takes from bytes and schemas that it did not write itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that are checked before anything is decoded, so that a few bytes cannot cost much memory or the stack."""

    body_bytes: int = 16 * 1024 * 1024
    elements: int | None = 1_000_000
    """Items of lists, sets and dicts in a message, all together. None: any number."""
    memory_bytes: int | None = 256 * 1024 * 1024
    """What a message may take in memory, roughly. None: whatever its body makes."""
    schema_bytes: int = 256 * 1024
    schema_depth: int = 64
    """Levels of brackets in a schema's JSON text."""
    schema_types: int = 8_192
    """Types and fields that are written out in a schema."""
    schema_names: int = 1_024
    """Records and enums in a schema."""
    record_parts: int = 8_192
    """Records that are in every value of a record."""
    nesting: int = 64
    """Levels of records, lists and dicts in a message whose schema refers to itself."""


DEFAULT_LIMITS = Limits()
"""For what anybody may send: commands, and the events of an append."""
OWN_LIMITS = Limits(elements=None, memory_bytes=None)
"""For what only workers write: events, outcomes, states. What was written once is read for ever, so nothing but its bytes bounds it."""
