"""Replies: what a partition owner tells the client that waits. Binary, big-endian, described in `docs/wire.md`."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from eventsource.commands.status import Status
from eventsource.errors import DecodeError

_VERSION: Final = 1
_FIXED = struct.Struct(
    ">BBiqqHHII"
)  # version, status, partition, offset, aggregate version, lengths of id, code, details, state


class Reply(NamedTuple):
    """The answer to one command.

    `partition` and `offset` say where in the events topic the aggregate's newest event stands, `version` is its version;
    the offset is -1 where there is none. `state` is what a load asked for, as `StateCodec` writes it.
    """

    command_id: str
    status: Status
    partition: int
    offset: int
    version: int
    code: str = ""
    details: str = ""
    state: bytes = b""

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
            version, status, partition, offset, aggregate_version, *lengths = _FIXED.unpack_from(data, start)
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
) -> bytes:
    """The bytes of a `Reply` that need not be made for it."""
    id_bytes = command_id.encode()
    if not (code or details or state):
        return _FIXED.pack(_VERSION, status, partition, offset, version, len(id_bytes), 0, 0, 0) + id_bytes
    code_bytes, details_bytes = code.encode(), details.encode()
    lengths = len(id_bytes), len(code_bytes), len(details_bytes), len(state)
    fixed = _FIXED.pack(_VERSION, status, partition, offset, version, *lengths)
    return b"".join((fixed, id_bytes, code_bytes, details_bytes, state))
