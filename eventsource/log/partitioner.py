"""Which partition a key belongs to: murmur2 as in Kafka's Java client.

librdkafka's default partitioner is CRC32: two defaults would give one aggregate two owners, so the framework computes the
partition itself and always names it. Source: `org.apache.kafka.common.utils.Utils.murmur2` and `toPositive`.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final
from uuid import UUID

from eventsource.errors import EncodeError

MAX_KEY_BYTES: Final = 1_024
_MASK = 0xFFFFFFFF
_M = 0x5BD1E995


def murmur2(data: bytes) -> int:
    """The 32-bit murmur2 hash of `data` as the Java client computes it, unsigned."""
    length = len(data)
    h = (0x9747B28C ^ length) & _MASK
    tail = length & ~3
    for i in range(0, tail, 4):
        k = int.from_bytes(data[i : i + 4], "little") * _M & _MASK
        k = (k ^ (k >> 24)) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    rest = length & 3
    if rest:
        h ^= int.from_bytes(data[tail:], "little")
        h = h * _M & _MASK
    h = (h ^ (h >> 13)) * _M & _MASK
    return h ^ (h >> 15)


def partition_for(key: bytes, partitions: int) -> int:
    """The partition, 0 to `partitions` - 1, of a key: `toPositive(murmur2(key)) % partitions`."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def aggregate_key(aggregate_id: str | UUID) -> bytes:
    """The record key of an aggregate: its id in UTF-8, a UUID in canonical form.

    Raises `EncodeError` if it is empty, longer than 1,024 bytes or has no UTF-8 form.
    """
    try:
        key = str(aggregate_id).encode()
    except UnicodeEncodeError as error:
        raise EncodeError(
            f"an aggregate id with a lone surrogate at index {error.start}, which has no UTF-8 form: no aggregate has it"
        ) from error
    if not key:
        raise EncodeError("an aggregate id is never empty: it is the record's key and chooses the partition; give one")
    if len(key) > MAX_KEY_BYTES:
        raise EncodeError(
            f"an aggregate id of {len(key)} bytes: give one of at most {MAX_KEY_BYTES}, such as a hash of what is longer"
        )
    return key


def short_key(key: bytes) -> bytes:
    """The key itself or, of one that no aggregate may have, what stands for it: 1,024 bytes, `#`, 16 digits of its hash."""
    if len(key) <= MAX_KEY_BYTES:
        return key
    return b"%b#%b" % (key[:MAX_KEY_BYTES], blake2b(key, digest_size=8).hexdigest().encode())
