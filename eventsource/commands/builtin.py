"""The commands that every aggregate takes: `$load` answers with its state, `$append` adds events that the caller decided on.

Their names begin with a `$`, which no name of a domain may. The value of `$load` is empty. That of `$append` is a count
(uint16) and as many events: length and text of the `ce_type` (uint16, UTF-8), length and bytes of the value (uint32),
big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final

from eventsource.errors import DecodeError, EncodeError

LOAD: Final = "$load"
APPEND: Final = "$append"
MAX_APPENDED_EVENTS: Final = 1_000

_COUNT = struct.Struct(">H")
_TYPE = struct.Struct(">H")
_VALUE = struct.Struct(">I")


def pack_events(events: Iterable[tuple[str, bytes]]) -> bytes:
    """The value of an `$append`: the events' types and encoded values. Raises `EncodeError` for none, or more than 1,000."""
    parts = []
    count = 0
    for type_, value in events:
        name = type_.encode()
        parts += [_TYPE.pack(len(name)), name, _VALUE.pack(len(value)), value]
        count += 1
    if not 0 < count <= MAX_APPENDED_EVENTS:
        raise EncodeError(f"append takes 1 to {MAX_APPENDED_EVENTS} events at a time, not {count}: split them up")
    return _COUNT.pack(count) + b"".join(parts)


def unpack_events(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Reads what `pack_events` made. Raises `DecodeError` if it is nothing of the kind."""
    try:
        (count,) = _COUNT.unpack_from(data)
        if not 0 < count <= MAX_APPENDED_EVENTS:
            raise DecodeError(
                f"an append has 1 to {MAX_APPENDED_EVENTS} events, and this one {count}: send it with client.append"
            )
        at = _COUNT.size
        for _ in range(count):
            (length,) = _TYPE.unpack_from(data, at)
            at += _TYPE.size
            type_ = data[at : at + length].decode()
            at += length
            (length,) = _VALUE.unpack_from(data, at)
            at += _VALUE.size
            value = data[at : at + length]
            if len(value) != length:
                raise DecodeError("the events of an append end too early: send it with client.append")
            at += length
            yield type_, value
    except (struct.error, UnicodeDecodeError) as error:
        raise DecodeError(f"the events of an append cannot be read ({error}): send it with client.append") from error
    if at != len(data):
        raise DecodeError("bytes are left over behind the events of an append: send it with client.append")
