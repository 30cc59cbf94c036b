"""What the transaction coordinator wrote down, read from records of a real broker (Kafka 4.3.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventsource.log.transaction_state import (
    TransactionEntry,
    TransactionStatus,
    coordinator_partition,
    read_entry,
    read_offset_key,
)

ID = "restarts.ledger.account.0.0"
KEY = bytes.fromhex("0000001b72657374617274732e6c65646765722e6163636f756e742e302e30")
PREPARE_COMMIT = bytes.fromhex(
    "000100000000000000040000000027100203135f5f636f6e73756d65725f6f6666736574730200000000001f72657374617274732e6c65646765722e"
    "6163636f756e742e6576656e7473020000000000000001a224de681d000001a224de68140100080000000000000004"
)
COMPLETE_COMMIT = bytes.fromhex(
    "000100000000000000040000000027100401000001a224de681d000001a224de68140100080000000000000004"
)
EMPTY = bytes.fromhex("000100000000000000040001000027100000000001a224dea738ffffffffffffffff0100080000000000000004")
PLACES = frozenset({("restarts.ledger.account.events", 0), ("__consumer_offsets", 0)})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            PREPARE_COMMIT,
            TransactionEntry(ID, 4, 0, TransactionStatus.PREPARE_COMMIT, PLACES, 1795914885149, 1795914885140),
        ),
        (
            COMPLETE_COMMIT,
            TransactionEntry(ID, 4, 0, TransactionStatus.COMPLETE_COMMIT, frozenset(), 1795914885149, 1795914885140),
        ),
        (EMPTY, TransactionEntry(ID, 4, 1, TransactionStatus.EMPTY, frozenset(), 1795914901304, -1)),
    ],
)
def test_a_record_is_read(value: bytes, expected: TransactionEntry) -> None:
    assert read_entry(KEY, value) == expected


def test_an_entry_of_version_0_is_read() -> None:
    topic = b"\0\0\0\1" + b"\0\6events" + b"\0\0\0\2" + b"\0\0\0\1" + b"\0\0\0\3"
    value = (
        b"\0\0" + (7).to_bytes(8) + b"\0\2" + (10_000).to_bytes(4) + b"\1" + topic + (20).to_bytes(8) + (10).to_bytes(8)
    )
    assert read_entry(KEY, value) == TransactionEntry(
        ID, 7, 2, TransactionStatus.ONGOING, frozenset({("events", 1), ("events", 3)}), 20, 10
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [(KEY, None), (KEY, b""), (b"", EMPTY), (b"\0\1\0\0", EMPTY), (KEY, b"\0\2" + EMPTY[2:]), (KEY, EMPTY[:20])],
)
def test_what_is_no_entry_is_passed_over(key: bytes, value: bytes | None) -> None:
    assert read_entry(key, value) is None


def test_the_key_of_an_offset_is_read() -> None:
    key = b"\0\1" + b"\0\5owner" + b"\0\7account" + b"\0\0\0\3"
    assert read_offset_key(key) == ("owner", ("account", 3))
    for other in (b"", b"\0\2" + key[2:], key[:-1]):
        assert read_offset_key(other) is None


@given(st.binary(max_size=64), st.binary(max_size=128))
def test_no_bytes_raise_or_hang(key: bytes, value: bytes) -> None:
    read_entry(key, value)
    read_entry(KEY, b"\0\1" + value)
    read_offset_key(key)


@pytest.mark.parametrize(
    ("name", "partitions", "expected"),
    # As a broker of 4 partitions stored them; then Java hash codes of 0, of the lowest number there is, and of a negative one.
    [
        (ID, 4, 2),
        ("restarts.ledger.account.0.1", 4, 3),
        ("restarts.ledger.account.1.1", 4, 0),
        ("", 50, 0),
        ("polygenelubricants", 50, 0),
        ("zzzzzz", 50, 14),
    ],
)
def test_names_go_where_kafka_puts_them(name: str, partitions: int, expected: int) -> None:
    assert coordinator_partition(name, partitions) == expected
