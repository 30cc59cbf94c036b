"""Replies: what a partition owner tells the client that waits. Binary, big-endian, described in `docs/wire.md`."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from eventsource.commands.status import Status
from eventsource.errors import DecodeError

_VERSION: Final = 1
_FIXED = struct.Struct(
    ">BBiqqHHI"
)  # version, status, partition, offset, aggregate version, lengths of id, code, details


class Reply(NamedTuple):
    """The answer to one command.

    `partition` and `offset` say where in the events topic the aggregate's newest event stands, `version` is its version;
    the offset is -1 where there is none.
    """

    command_id: str
    status: Status
    partition: int
    offset: int
    version: int
    code: str = ""
    details: str = ""

    def encode(self) -> bytes:
        """The reply's bytes."""
        command_id, code, details = self.command_id.encode(), self.code.encode(), self.details.encode()
        fixed = _FIXED.pack(
            _VERSION, self.status, self.partition, self.offset, self.version, len(command_id), len(code), len(details)
        )
        return b"".join((fixed, command_id, code, details))

    @classmethod
    def decode(cls, data: bytes) -> Reply:
        """Reads a reply. Raises `DecodeError` if it is none of this version."""
        try:
            version, status, partition, offset, aggregate_version, *lengths = _FIXED.unpack_from(data)
            if version != _VERSION or len(data) != _FIXED.size + sum(lengths):
                raise DecodeError(
                    f"a reply of version {version} and {len(data)} bytes cannot be read: upgrade the client"
                )
            id_end = _FIXED.size + lengths[0]
            code_end = id_end + lengths[1]
            return cls(
                data[_FIXED.size : id_end].decode(),
                Status(status),
                partition,
                offset,
                aggregate_version,
                data[id_end:code_end].decode(),
                data[code_end:].decode(),
            )
        except (struct.error, ValueError) as error:
            raise DecodeError(f"a reply cannot be read ({error}): upgrade the client") from error
