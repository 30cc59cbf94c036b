"""What generated codecs are made of: Avro's numbers as bytes and back, and the values that need more than one line."""

from __future__ import annotations

from struct import Struct
from typing import Final
from uuid import UUID, SafeUUID


class Unfit(Exception):  # never leaves a generated function: it makes it ask the reference codec
    """The bytes or the value are not of the plain kind that generated code takes."""


SMALL_COUNT: Final = 1024

_LONGEST_SHIFT: Final = 70  # ten bytes of seven bits


def varint(number: int) -> bytes:
    """A long: zigzag, then seven bits a byte, the lowest first. Raises `Unfit` beyond 64 bits."""
    rest = number << 1 if number >= 0 else ~(number << 1)
    if rest < 0x80:
        return bytes((rest,))
    if rest < 0x4000:
        return bytes((rest & 0x7F | 0x80, rest >> 7))
    if rest < 0x200000:
        return bytes((rest & 0x7F | 0x80, rest >> 7 & 0x7F | 0x80, rest >> 14))
    if rest < 0x10000000:
        return bytes((rest & 0x7F | 0x80, rest >> 7 & 0x7F | 0x80, rest >> 14 & 0x7F | 0x80, rest >> 21))
    if rest >> 64:
        raise Unfit
    found = bytearray()
    while rest > 0x7F:
        found.append(rest & 0x7F | 0x80)
        rest >>= 7
    found.append(rest)
    return bytes(found)


SMALL: Final = [
    varint(number if number < SMALL_COUNT else number - 2 * SMALL_COUNT) for number in range(2 * SMALL_COUNT)
]
"""`SMALL[n]` is the varint of n for -SMALL_COUNT <= n < SMALL_COUNT: a list counts negative indexes from its end."""


def number(value: bytes, first: int, position: int) -> tuple[int, int]:
    """The rest of a long whose `first` byte was read: its zigzag form and the position behind it.

    Raises `Unfit` for more than 64 bits, and for a form that no writer would give it.
    """
    found = first & 0x7F
    shift = 7
    byte = first
    while byte > 0x7F:
        byte = value[position]
        position += 1
        found |= (byte & 0x7F) << shift
        shift += 7
        if shift > _LONGEST_SHIFT:
            raise Unfit
    if byte == 0 or found >> 64:
        raise Unfit
    return found, position


def length(value: bytes, first: int, position: int) -> tuple[int, int]:
    """As `number`, for a count: raises `Unfit` for a negative one too."""
    if first > 0x7F:
        first, position = number(value, first, position)
    if first & 1:
        raise Unfit
    return first, position


pack_double: Final = Struct("<d").pack
unpack_double: Final = Struct("<d").unpack_from
unpack_float: Final = Struct("<f").unpack_from


def uuid_to_text(value: UUID) -> str:
    """What `str` gives, in half the time."""
    text = f"{value.int:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


_new_uuid = object.__new__
_set_uuid = object.__setattr__
_HYPHENS: Final = ("-", "-", "-", "-")
_unknown = SafeUUID.unknown


def uuid_from_text(text: str) -> UUID:
    """What `UUID` makes of the form with hyphens, in half the time. Raises `Unfit` or `ValueError` for any other text."""
    if len(text) != 36 or (text[8], text[13], text[18], text[23]) != _HYPHENS:
        raise Unfit
    digits = bytes.fromhex(text.replace("-", ""))
    if len(digits) != 16:  # white space is passed over
        raise Unfit
    value = _new_uuid(UUID)
    _set_uuid(value, "int", int.from_bytes(digits))
    _set_uuid(value, "is_safe", _unknown)
    return value
