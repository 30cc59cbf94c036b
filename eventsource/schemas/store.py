"""Where schemas are kept: the protocol, and a store in memory."""

from __future__ import annotations

import threading
from typing import Protocol

from eventsource.errors import FingerprintConflict, UnknownFingerprint
from eventsource.schemas.schema_text import SchemaText


class SchemaStore(Protocol):
    """Schemas by fingerprint. Every implementation may be shared between threads."""

    def register(self, schema: SchemaText) -> None:
        """Returns once the schema is stored for good; the same text again changes nothing.

        Raises `FingerprintConflict` when another text is stored under its fingerprint; nothing is written then.
        """

    def get(self, fingerprint: int, *, patience_seconds: float | None = None) -> SchemaText:
        """The schema with this fingerprint.

        Raises `UnknownFingerprint` if there is none, even after looking again for up to `patience_seconds` (None: as long
        as the store itself holds right).
        """


class MemorySchemaStore:
    """Schemas in this process alone, for tests and `TestApp`."""

    def __init__(self) -> None:
        self._schemas: dict[int, SchemaText] = {}
        self._lock = threading.Lock()

    def register(self, schema: SchemaText) -> None:
        with self._lock:
            check_same(self._schemas.setdefault(schema.fingerprint, schema), schema)

    def get(self, fingerprint: int, *, patience_seconds: float | None = None) -> SchemaText:  # noqa: ARG002  # nobody else writes here
        try:
            return self._schemas[fingerprint]
        except KeyError:
            raise UnknownFingerprint(
                f"no schema with fingerprint {fingerprint:016x} is stored: register the writer's schema in the same store"
            ) from None


def check_same(known: SchemaText, schema: SchemaText) -> None:
    """Raises `FingerprintConflict` unless both texts are the same."""
    if known.text != schema.text:
        raise FingerprintConflict(
            f"schema {schema.name} has the fingerprint {schema.hex} of another schema, {known.name}: it was not written; "
            "add a field to the message, or rename one, to give it another fingerprint"
        )
