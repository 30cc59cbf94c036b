from __future__ import annotations

import copy

import pytest

from eventsource.commands.native_packed_map import PackedMap
from tests.packed_maps import check_packed_map


def test_it_is_the_map_that_it_stands_for() -> None:
    check_packed_map(PackedMap)  # type: ignore[arg-type]  # no subclass, but the same


def test_keys_whose_hashes_end_alike_are_told_apart() -> None:
    # Hashes of texts cannot be chosen: none of these are equal, but many share the bits that choose a place.
    packed = PackedMap()
    for number in range(200_000):
        packed.put(f"id-{number}", number.to_bytes(4, "big"))
    assert len(packed) == 200_000
    assert all(packed.get(f"id-{number}") == number.to_bytes(4, "big") for number in range(200_000))
    assert packed.get("id-200000") is None


def test_an_entry_takes_less_than_half_of_what_python_objects_take() -> None:
    packed = PackedMap()
    assert packed.size_bytes == 0
    for number in range(100_000):
        packed.put(f"{number:036}", b"x" * 27)
    assert 71 * 100_000 < packed.size_bytes < 125 * 100_000


def test_what_it_cannot_take_is_refused() -> None:
    packed = PackedMap()
    with pytest.raises(TypeError):
        packed.put(b"bytes", b"")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        packed.put("text", "text")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        packed.get(None)  # type: ignore[arg-type]
    with pytest.raises(UnicodeEncodeError):
        packed.put("\ud800", b"")
    with pytest.raises(TypeError, match="cannot be copied"):
        copy.copy(packed)
    assert len(packed) == 0
