"""Replies: what a partition owner tells the client that waits. Binary, big-endian, described in `docs/wire.md`."""

from __future__ import annotations

import struct
import zlib
from typing import Any, Final, NamedTuple

from eventsource.commands.status import Status
from eventsource.errors import DecodeError

_native: Any  # a module is never None to mypyc, which would take what follows from that for certain
try:
    from eventsource.commands import native_answers as _native
except ImportError:  # it was not compiled
    _native = None

_VERSION: Final = 1
# version, status, partition, offset, aggregate version, CRC of the topic, body hash, lengths of id, code, details, state
_FIXED = struct.Struct(">BBiqqI8sHHII")
NO_HASH: Final = bytes(8)


def topic_crc(commands_topic: str) -> int:
    """What a reply names a commands topic by."""
    return zlib.crc32(commands_topic.encode())


class Reply(NamedTuple):
    """The answer to one command.

    `partition` and `offset` say where in the events topic the aggregate's newest event stands, `version` is its version;
    the offset is -1 where there is none. `state` is what a load asked for, as `StateCodec` writes it. `topic_crc` and
    `body_hash` say which command it answers: ids may have been used for several.
    """

    command_id: str
    status: Status
    partition: int
    offset: int
    version: int
    code: str = ""
    details: str = ""
    state: bytes = b""
    topic_crc: int = 0
    body_hash: bytes = NO_HASH

    def encode(self) -> bytes:
        """The reply's bytes."""
        return encode_reply(*self)

    @classmethod
    def decode_all(cls, data: bytes) -> list[Reply]:
        """Reads the replies that one record holds, one behind the other. Raises `DecodeError` if it is none of this version."""
        found = []
        at = 0
        while at < len(data):
            reply, at = cls._decode(data, at)
            found.append(reply)
        return found

    @classmethod
    def _decode(cls, data: bytes, start: int) -> tuple[Reply, int]:
        try:
            version, status, partition, offset, aggregate_version, crc, digest, *lengths = _FIXED.unpack_from(
                data, start
            )
            id_at = start + _FIXED.size
            code_at = id_at + lengths[0]
            details_at = code_at + lengths[1]
            state_at = details_at + lengths[2]
            end = state_at + lengths[3]
            if version != _VERSION or len(data) < end:
                raise DecodeError(
                    f"a reply of version {version} and {len(data)} bytes cannot be read: upgrade the client"
                )
            reply = cls(
                data[id_at:code_at].decode(),
                Status(status),
                partition,
                offset,
                aggregate_version,
                data[code_at:details_at].decode(),
                data[details_at:state_at].decode(),
                data[state_at:end],
                crc,
                digest,
            )
        except (struct.error, ValueError) as error:
            raise DecodeError(f"a reply cannot be read ({error}): upgrade the client") from error
        return reply, end


def encode_reply(
    command_id: str,
    status: int,
    partition: int,
    offset: int,
    version: int,
    code: str = "",
    details: str = "",
    state: bytes = b"",
    topic_crc: int = 0,
    body_hash: bytes = NO_HASH,
) -> bytes:
    """The bytes of a `Reply` that need not be made for it."""
    plain = not (code or details or state)
    if plain and _native is not None:
        data: bytes = _native.encode_reply(command_id, status, partition, offset, version, topic_crc, body_hash)
        return data
    id_bytes = command_id.encode()
    if plain:
        return (
            _FIXED.pack(_VERSION, status, partition, offset, version, topic_crc, body_hash, len(id_bytes), 0, 0, 0)
            + id_bytes
        )
    code_bytes, details_bytes = code.encode(), details.encode()
    lengths = len(id_bytes), len(code_bytes), len(details_bytes), len(state)
    fixed = _FIXED.pack(_VERSION, status, partition, offset, version, topic_crc, body_hash, *lengths)
    return b"".join((fixed, id_bytes, code_bytes, details_bytes, state))
