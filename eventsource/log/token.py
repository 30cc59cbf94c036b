"""Read-your-writes tokens: where in the log a command's last event stands. Opaque text outside; crosses services."""

from __future__ import annotations

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass

from eventsource.errors import DecodeError

_VERSION = 1
_FIXED = struct.Struct(">B16siqq")


@dataclass(frozen=True, slots=True)
class Token:
    """The position of an aggregate's newest event after a command. `str()` gives the opaque text, `parse` reads it back."""

    topic_id: bytes
    partition: int
    offset: int
    aggregate_id: str
    version: int

    def __str__(self) -> str:
        fixed = _FIXED.pack(_VERSION, self.topic_id, self.partition, self.offset, self.version)
        return urlsafe_b64encode(fixed + self.aggregate_id.encode()).rstrip(b"=").decode()

    @classmethod
    def parse(cls, text: str) -> Token:
        """Reads the opaque text. Raises `DecodeError` if it is not a token."""
        try:
            data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
            version, topic_id, partition, offset, aggregate_version = _FIXED.unpack_from(data)
            aggregate_id = data[_FIXED.size :].decode()
        except (Base64Error, ValueError, struct.error):
            raise DecodeError(
                "that text is not a read-your-writes token: pass on the token of a reply unchanged"
            ) from None
        if version != _VERSION:
            raise DecodeError(f"the token has version {version}, this framework reads {_VERSION}: upgrade the reader")
        return cls(topic_id, partition, offset, aggregate_id, aggregate_version)
