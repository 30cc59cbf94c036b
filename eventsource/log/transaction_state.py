"""What Kafka's transaction coordinator wrote down about transactions: records of `__transaction_state`.

The format is Kafka's own and not part of its protocol: `TransactionLogKey.json` and `TransactionLogValue.json` of its sources, versions
0 and 1. What cannot be read is no entry.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

TRANSACTION_TOPIC: Final = "__transaction_state"
OFFSETS_TOPIC: Final = "__consumer_offsets"
_INT8, _INT16, _INT32, _INT64 = (struct.Struct(code) for code in (">b", ">h", ">i", ">q"))


class TransactionStatus(IntEnum):
    """How far a transaction is; the numbers are Kafka's."""

    EMPTY = 0
    ONGOING = 1
    PREPARE_COMMIT = 2
    PREPARE_ABORT = 3
    COMPLETE_COMMIT = 4
    COMPLETE_ABORT = 5
    DEAD = 6
    PREPARE_EPOCH_FENCE = 7


@dataclass(frozen=True, slots=True)
class TransactionEntry:
    """One record. `partitions` are those that lack their marker still; times are in milliseconds since 1970 UTC, -1 for none."""

    transactional_id: str
    producer_id: int
    producer_epoch: int
    status: TransactionStatus
    partitions: frozenset[tuple[str, int]]
    updated_ms: int
    started_ms: int


def coordinator_partition(name: str, partitions: int) -> int:
    """The partition of `__transaction_state` for a transactional id, or that of `__consumer_offsets` for a group."""
    code = 0
    units = name.encode("utf-16-be")
    for index in range(0, len(units), 2):  # Java's String.hashCode
        code = (31 * code + int.from_bytes(units[index : index + 2])) & 0xFFFFFFFF
    signed = code - (1 << 32) if code >= 1 << 31 else code
    return (0 if signed == -(1 << 31) else abs(signed)) % partitions


def read_offset_key(key: bytes) -> tuple[str, tuple[str, int]] | None:
    """Group, topic and partition of an offset in `__consumer_offsets` (`OffsetCommitKey.json`), or None if it is another record."""
    try:
        if _INT16.unpack_from(key)[0] not in (0, 1):
            return None
        fields = _Fields(key[2:])
        group, topic = fields.text(flexible=False), fields.text(flexible=False)
        return group, (topic, fields.number(_INT32))
    except (struct.error, ValueError, IndexError):
        return None


def read_entry(key: bytes, value: bytes | None) -> TransactionEntry | None:
    """The entry that a record holds, or None if it is none: a tombstone, or a format of another version."""
    try:
        if value is None or _INT16.unpack_from(key)[0] != 0:
            return None
        length = _INT16.unpack_from(key, 2)[0]
        return _read_value(key[4 : 4 + length].decode(), value)
    except (struct.error, ValueError, IndexError):
        return None


def _read_value(transactional_id: str, value: bytes) -> TransactionEntry | None:
    fields = _Fields(value)
    version = fields.number(_INT16)
    if version not in (0, 1):
        return None
    producer_id, epoch = fields.number(_INT64), fields.number(_INT16)
    fields.number(_INT32)  # the transaction's time-out
    status = TransactionStatus(fields.number(_INT8))
    flexible = version == 1
    partitions: set[tuple[str, int]] = set()
    for _ in range(fields.length(flexible=flexible)):
        topic = fields.text(flexible=flexible)
        partitions.update((topic, fields.number(_INT32)) for _ in range(fields.length(flexible=flexible)))
        if flexible:
            fields.skip_tags()
    updated_ms, started_ms = fields.number(_INT64), fields.number(_INT64)
    return TransactionEntry(transactional_id, producer_id, epoch, status, frozenset(partitions), updated_ms, started_ms)


class _Fields:
    """Kafka's primitive types, one after the other. `flexible`: the compact forms, of KIP-482."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, form: struct.Struct) -> int:
        (found,) = form.unpack_from(self._data, self._at)
        self._at += form.size
        return int(found)

    def length(self, *, flexible: bool) -> int:
        return max(0, self._varint() - 1 if flexible else self.number(_INT32))

    def text(self, *, flexible: bool) -> str:
        size = self._varint() - 1 if flexible else self.number(_INT16)
        start, self._at = self._at, self._at + size
        return self._data[start : self._at].decode()

    def skip_tags(self) -> None:
        for _ in range(self._varint()):
            self._varint()
            self._at += self._varint()

    def _varint(self) -> int:
        found, shift = 0, 0
        while True:
            byte = self._data[self._at]
            self._at += 1
            found |= (byte & 0x7F) << shift
            if byte < 0x80:
                return found
            shift += 7
