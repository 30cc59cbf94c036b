"""Objects to bytes and back: Avro's single-object encoding, with schemas from a store."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from eventsource.errors import DecodeError
from eventsource.schemas.avro_schema import AvroSchema
from eventsource.schemas.body import body_reader, body_writer
from eventsource.schemas.budget import Budget, Taken
from eventsource.schemas.limits import Limits
from eventsource.schemas.reference import Read
from eventsource.schemas.resolution import DEEP_SCHEMA, resolve
from eventsource.schemas.schema_text import SchemaText
from eventsource.schemas.store import SchemaStore

T = TypeVar("T")

MARKER: Final = b"\xc3\x01"
"""Avro 1.12, "Single object encoding": the first two bytes, before eight of the fingerprint, little-endian."""

PREFIX_BYTES: Final = 10


class SingleObjectCodec(Generic[T]):
    """Writes and reads the instances of one class. Safe to share between threads."""

    def __init__(self, schema: AvroSchema, store: SchemaStore, limits: Limits) -> None:
        self.schema = schema
        self._store = store
        self._limits = limits
        self._registered = False
        self._lock = threading.Lock()
        text = schema.text
        self._prefix = MARKER + text.fingerprint.to_bytes(8, "little")
        self._write = body_writer(schema, self._prefix, limits)
        self._written: dict[bytes, dict[str, Any]] = {}
        self._budgets: dict[tuple[bytes, Limits], Budget] = {}
        self._readers: dict[bytes, Callable[[bytes], T]] = {self._prefix: self._reader(text)}

    def encode(self, instance: T) -> bytes:
        """`C3 01`, the fingerprint and the body. The schema is registered first if it was not yet.

        Raises `EncodeError`, and what the store's `register` raises.
        """
        if not self._registered:
            self.register()
        return self._write(instance)

    def encode_ahead(self, instance: T) -> bytes:
        """As `encode`, without registering: the caller registers the schema before the bytes leave. Raises `EncodeError`."""
        return self._write(instance)

    def decode(self, value: bytes, *, patience_seconds: float | None = None) -> T:
        """The instance, whichever schema of it wrote the bytes. Nothing of today's class is validated.

        `patience_seconds`: how long to wait for a schema that the store does not know yet; None leaves that to the store.

        Raises:
            DecodeError: the bytes are not what they claim, or cannot become today's class; the text has the mend.
            UnknownFingerprint: the store does not know the writer's schema, even after looking again.
        """
        read = self._readers.get(value[:PREFIX_BYTES])
        if read is None:
            read = self._add_reader(value[:PREFIX_BYTES], patience_seconds)
        return read(value)

    def excess(
        self, value: bytes, taken: Taken, limits: Limits, *, patience_seconds: float | None = None
    ) -> str | None:
        """Adds what an encoded value takes in memory to what others took. What exceeds the limits with it, if anything does.

        Nothing is decoded. Raises what `decode` raises for the value's prefix.
        """
        prefix = value[:PREFIX_BYTES]
        if prefix not in self._readers:
            self._add_reader(prefix, patience_seconds)
        written = self._written.get(prefix)
        if written is None:
            return None  # its reader refuses it
        budget = self._budgets.get((prefix, limits))
        if budget is None:
            budget = self._budgets[prefix, limits] = Budget(written, PREFIX_BYTES, limits)
        return budget.excess(value, taken)

    def register(self) -> None:
        """Stores the schema, acknowledged, before the first value that uses it. Again is a no-op."""
        with self._lock:
            if not self._registered:
                self._store.register(self.schema.text)
                self._registered = True

    def check_written(self, schema: dict[str, Any]) -> None:
        """Called once for each other schema that values were written with; raises `DecodeError` to refuse them all."""

    def _add_reader(self, prefix: bytes, patience_seconds: float | None) -> Callable[[bytes], T]:
        if len(prefix) < PREFIX_BYTES or prefix[:2] != MARKER:
            raise DecodeError(
                f"{self.schema.text.name}: the value does not begin with C3 01 and a schema's fingerprint: "
                "find out who wrote it"
            )
        written = self._store.get(int.from_bytes(prefix[2:], "little"), patience_seconds=patience_seconds)
        try:
            read = self._reader(written)
        except DecodeError as error:
            # It would be no other for the next value, and costs much more to find out than to say.
            read = _refuser(str(error))
        except RecursionError:
            read = _refuser(f"{self.schema.text.name}: {DEEP_SCHEMA}")
        self._readers[prefix] = read
        return read

    def _reader(self, text: SchemaText) -> Read:
        written = text.schema()
        self.check_written(written)
        read = body_reader(resolve(self.schema.shape, written, self.schema.names), PREFIX_BYTES, self._limits)
        self._written[MARKER + text.fingerprint.to_bytes(8, "little")] = written
        return read


def _refuser(text: str) -> Read:
    def read(_: bytes) -> Any:
        raise DecodeError(text)

    return read


def written_fingerprint(value: bytes) -> int:
    """The fingerprint of the schema that an encoded value was written with. To be asked of a value that could be decoded."""
    return int.from_bytes(value[len(MARKER) : PREFIX_BYTES], "little")
