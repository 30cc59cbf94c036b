"""Messages to bytes and back: Avro's single-object encoding."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Final, Generic, TypeVar, cast

import pydantic

from eventsource.errors import DecodeError
from eventsource.schemas.body import Read, body_reader, body_writer
from eventsource.schemas.limits import DEFAULT_LIMITS, Limits
from eventsource.schemas.loading import Loading
from eventsource.schemas.message_schema import AvroSchema, message_schema
from eventsource.schemas.store import SchemaStore

M = TypeVar("M", bound=pydantic.BaseModel)

MARKER: Final = b"\xc3\x01"
"""Avro 1.12, "Single object encoding": the first two bytes, before eight of the fingerprint, little-endian."""

_PREFIX_BYTES: Final = 10


class MessageCodec(Generic[M]):
    """Writes and reads one message class. Safe to share between threads.

    `record_name`: the message's given name; `aliases`: those that it had before (default: the class's `message_aliases`).
    Raises what `message_schema` raises.
    """

    def __init__(
        self,
        model: type[M],
        record_name: str,
        store: SchemaStore,
        aliases: Iterable[str] | None = None,
        *,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        if aliases is None:
            aliases = getattr(model, "message_aliases", ())
        self.model = model
        self.schema: AvroSchema = message_schema(model, record_name, aliases)
        self._store = store
        self._limits = limits
        self._registered = False
        self._lock = threading.Lock()
        text = self.schema.text
        self._prefix = MARKER + text.fingerprint.to_bytes(8, "little")
        self._write = body_writer(text.schema(), self.schema.dumping.dump, self._prefix, limits)
        self._readers: dict[bytes, Read] = {self._prefix: self._reader(self._prefix)}

    def encode(self, message: M) -> bytes:
        """`C3 01`, the fingerprint and the body. The schema is registered first if it was not yet.

        Raises `EncodeError`, and what the store's `register` raises.
        """
        if not self._registered:
            self.register()
        return self._write(message)

    def decode(self, value: bytes) -> M:
        """The message, whichever schema of it wrote the bytes. Nothing of today's class is validated.

        Raises:
            DecodeError: the bytes are not what they claim, or cannot become today's class; the text has the mend.
            UnknownFingerprint: the store does not know the writer's schema, even after looking again.
        """
        prefix = value[:_PREFIX_BYTES]
        read = self._readers.get(prefix)
        if read is None:
            read = self._add_reader(prefix)
        return cast(M, read(value))

    def register(self) -> None:
        """Stores the schema, acknowledged, before the first message that uses it. Again is a no-op."""
        with self._lock:
            if not self._registered:
                self._store.register(self.schema.text)
                self._registered = True

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
        loading = Loading(self.schema.shape, schema, self.schema.names)
        return body_reader(schema, loading.load, _PREFIX_BYTES, self._limits)
