"""Numbers and ids as generated codecs write and read them."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventsource.schemas.conversions import LONG_MAX, LONG_MIN
from eventsource.schemas.primitives import (
    COUNTS,
    LONGS,
    SMALL,
    SMALL_COUNT,
    Unfit,
    count,
    long,
    uuid_from_text,
    uuid_to_text,
    varint,
)

longs = st.integers(LONG_MIN, LONG_MAX) | st.integers(-3000, 3000)


@given(longs)
def test_a_long_is_written_and_read_as_the_specification_says(number: int) -> None:
    zigzag = (number << 1) ^ (number >> 63)
    expected = bytearray()
    while zigzag > 0x7F:
        expected.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    expected.append(zigzag)
    assert varint(number) == bytes(expected)
    if -SMALL_COUNT <= number < SMALL_COUNT:
        assert SMALL[number] == bytes(expected)
    if len(expected) == 1:
        assert LONGS[expected[0]] == number
    else:
        assert long(b"ab" + expected + b"c", 2) == (number, 2 + len(expected))


@pytest.mark.parametrize("number", [LONG_MAX + 1, LONG_MIN - 1, 1 << 200])
def test_a_number_beyond_64_bits_is_not_written(number: int) -> None:
    with pytest.raises(Unfit):
        varint(number)


@pytest.mark.parametrize(
    "value", [b"\x80\x00", b"\xff" * 9 + b"\x02", b"\xff" * 10 + b"\x01", b"\xff" * 100_000], ids=len
)
def test_a_number_that_no_writer_writes_is_not_read(value: bytes) -> None:
    with pytest.raises(Unfit):
        long(value, 0)


def test_a_number_that_ends_early_is_not_read() -> None:
    with pytest.raises(IndexError):
        long(b"\xff\xff", 0)


def test_a_negative_count_is_not_read() -> None:
    assert count(b"\x80\x01", 0) == (64, 2)
    with pytest.raises(Unfit):
        count(b"\x81\x01", 0)


def test_a_count_of_one_byte_is_in_its_table_unless_it_is_negative() -> None:
    for number in range(-64, 64):
        assert COUNTS[varint(number)[0]] == (number if number >= 0 else None)
    assert set(COUNTS[0x80:]) == set(LONGS[0x80:]) == {None}


@given(st.uuids())
def test_an_id_is_written_and_read_as_uuid_does(value: UUID) -> None:
    assert uuid_to_text(value) == str(value)
    found = uuid_from_text(str(value))
    assert found == value
    assert hash(found) == hash(value)
    assert found.is_safe is UUID(str(value)).is_safe


@pytest.mark.parametrize("text", ["", "0" * 31, "0" * 33, f"urn:uuid:{UUID(int=1)}", "x" * 32])
def test_a_text_that_is_no_plain_id_is_not_read(text: str) -> None:
    with pytest.raises((Unfit, ValueError)):
        uuid_from_text(text)
