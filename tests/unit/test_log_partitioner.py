from __future__ import annotations

from uuid import UUID

import pytest

from eventsource.errors import EncodeError
from eventsource.log.partitioner import aggregate_key, murmur2, partition_for

# From `UtilsTest.testMurmur2` of the Java client, there as signed integers.
JAVA_VALUES = [
    (b"21", -973932308),
    (b"foobar", -790332482),
    (b"a-little-bit-long-string", -985981536),
    (b"a-little-bit-longer-string", -1486304829),
    (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
    (b"abc", 479470107),
]


@pytest.mark.parametrize(("data", "signed"), JAVA_VALUES)
def test_murmur2_gives_the_java_clients_values(data: bytes, signed: int) -> None:
    assert murmur2(data) == signed & 0xFFFFFFFF


@pytest.mark.parametrize(("data", "signed"), JAVA_VALUES)
def test_a_partition_is_the_positive_hash_modulo_the_count(data: bytes, signed: int) -> None:
    assert partition_for(data, 12) == (signed & 0x7FFFFFFF) % 12


def test_a_uuid_is_keyed_in_canonical_form() -> None:
    upper = UUID("6BA7B810-9DAD-11D1-80B4-00C04FD430C8")
    assert aggregate_key(upper) == b"6ba7b810-9dad-11d1-80b4-00c04fd430c8"


def test_an_empty_id_is_refused() -> None:
    with pytest.raises(EncodeError, match="never empty"):
        aggregate_key("")


def test_an_id_that_is_too_long_is_refused() -> None:
    assert len(aggregate_key("é" * 512)) == 1_024
    with pytest.raises(EncodeError, match="an aggregate id of 1025 bytes: give one of at most 1024"):
        aggregate_key("é" * 512 + "x")
