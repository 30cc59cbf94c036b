"""Objects to bytes and back: Avro's single-object encoding, with schemas from a store."""

from __future__ import annotations

import threading
from typing import Any, Final, Generic, TypeVar, cast

from eventsource.errors import DecodeError
from eventsource.schemas.avro_schema import AvroSchema
from eventsource.schemas.body import Read, body_reader, body_writer
from eventsource.schemas.limits import Limits
from eventsource.schemas.loading import Loading
from eventsource.schemas.resolution import resolve
from eventsource.schemas.store import SchemaStore

T = TypeVar("T")

MARKER: Final = b"\xc3\x01"
"""Avro 1.12, "Single object encoding": the first two bytes, before eight of the fingerprint, little-endian."""

_PREFIX_BYTES: Final = 10


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
        self._write = body_writer(text.schema(), schema.dumping.dump, self._prefix, limits)
        self._readers: dict[bytes, Read] = {self._prefix: self._reader(self._prefix)}

    def encode(self, instance: T) -> bytes:
        """`C3 01`, the fingerprint and the body. The schema is registered first if it was not yet.

        Raises `EncodeError`, and what the store's `register` raises.
        """
        if not self._registered:
            self.register()
        return self._write(instance)

    def decode(self, value: bytes) -> T:
        """The instance, whichever schema of it wrote the bytes. Nothing of today's class is validated.

        Raises:
            DecodeError: the bytes are not what they claim, or cannot become today's class; the text has the mend.
            UnknownFingerprint: the store does not know the writer's schema, even after looking again.
        """
        prefix = value[:_PREFIX_BYTES]
        read = self._readers.get(prefix)
        if read is None:
            read = self._add_reader(prefix)
        return cast(T, read(value))

    def register(self) -> None:
        """Stores the schema, acknowledged, before the first value that uses it. Again is a no-op."""
        with self._lock:
            if not self._registered:
                self._store.register(self.schema.text)
                self._registered = True

    def check_written(self, schema: dict[str, Any]) -> None:
        """Called once for each other schema that values were written with; raises `DecodeError` to refuse them all."""

    def _add_reader(self, prefix: bytes) -> Read:
        if len(prefix) < _PREFIX_BYTES or prefix[:2] != MARKER:
            raise DecodeError(
                f"{self.schema.text.name}: the value does not begin with C3 01 and a schema's fingerprint: "
                "find out who wrote it"
            )
        read = self._reader(prefix)
        self._readers[prefix] = read
        return read

    def _reader(self, prefix: bytes) -> Read:
        written = self.schema.text
        if prefix != self._prefix:
            written = self._store.get(int.from_bytes(prefix[2:], "little"))
        schema = written.schema()
        self.check_written(schema)
        loading = Loading(resolve(self.schema.shape, schema, self.schema.names))
        return body_reader(schema, loading.load, _PREFIX_BYTES, self._limits)
