"""What generated codecs are made of: Avro's numbers as bytes and back, and the values that need more than one line."""

from __future__ import annotations

import functools
from collections.abc import Callable
from decimal import Context, Decimal, Inexact, InvalidOperation, Rounded
from struct import Struct
from typing import Final, cast
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


LONGS: Final = tuple(byte >> 1 ^ -(byte & 1) if byte < 0x80 else None for byte in range(256))
"""The long that a byte is, or None if there are more bytes to it."""

COUNTS: Final = tuple(byte >> 1 if byte < 0x80 and not byte & 1 else None for byte in range(256))
"""The count that a byte is, or None if there are more bytes to it or it is negative."""


def long(value: bytes, start: int) -> tuple[int, int]:
    """A long of two bytes or more, and the position behind it.

    Raises `Unfit` for more than 64 bits, and for a form that no writer would give it; `IndexError` if the bytes end.
    """
    position = start
    shift = found = 0
    byte = 0x80
    while byte > 0x7F:
        byte = value[position]
        position += 1
        found |= (byte & 0x7F) << shift
        shift += 7
        if shift > _LONGEST_SHIFT:
            raise Unfit
    if byte == 0 or found >> 64:
        raise Unfit
    return found >> 1 ^ -(found & 1), position


def count(value: bytes, start: int) -> tuple[int, int]:
    """As `long`, for a count: raises `Unfit` for a negative one too."""
    found, position = long(value, start)
    if found < 0:
        raise Unfit
    return found, position


pack_double: Final = Struct("<d").pack
unpack_double: Final = Struct("<d").unpack_from
unpack_float: Final = Struct("<f").unpack_from


from_bytes: Final = int.from_bytes


@functools.cache
def power_of_ten(exponent: int) -> int:
    return cast(int, 10**exponent)


def longest_decimal_bytes(precision: int) -> int:
    """How many bytes the unscaled value of a Decimal with so many digits takes at most."""
    return (power_of_ten(precision).bit_length() >> 3) + 1


@functools.cache
def unit(scale: int) -> Decimal:
    """The smallest step of a Decimal with so many digits behind the point."""
    return Decimal((0, (1,), -scale))


@functools.cache
def multiply(precision: int) -> Callable[[int, Decimal], Decimal]:
    """Multiplication that raises rather than round to `precision` digits."""
    return Context(prec=precision, traps=[InvalidOperation, Inexact, Rounded]).multiply


def uuid_to_text(value: UUID) -> str:
    """What `str` gives, in half the time."""
    pairs = value.int.to_bytes(16, "big").hex("-", 2)
    return f"{pairs[:4]}{pairs[5:29]}{pairs[30:34]}{pairs[35:]}"


_new_uuid: Final = object.__new__
_set_int: Final = vars(UUID)["int"].__set__
_set_is_safe: Final = vars(UUID)["is_safe"].__set__
_unknown: Final = SafeUUID.unknown


def uuid_from_text(text: str) -> UUID:
    """What `UUID` makes of it, in half the time. Raises `Unfit` or `ValueError` for forms that nobody writes."""
    digits = text.replace("-", "")
    if len(digits) != 32:
        raise Unfit
    value = _new_uuid(UUID)
    _set_int(value, int(digits, 16))
    _set_is_safe(value, _unknown)
    return value
