"""Requests of Kafka's protocol that are spoken here. What brokers make of them is in tests/faults/test_lost_markers.py."""

from __future__ import annotations

import struct

import pytest

from eventsource.embedded.ports import choose_port
from eventsource.errors import LogError
from eventsource.log.kafka_request import answer_body, encode_request
from eventsource.log.markers import OpenTransaction, encode_marker, read_error, read_producers, write_marker

WHERE = ("bank.account.events", 3)
OPEN = OpenTransaction(4, 1, 6, 107)


def test_a_request_has_its_length_and_a_header_of_version_2() -> None:
    request = encode_request(64, 0, b"body")
    assert struct.unpack_from(">ihhih", request) == (len(request) - 4, 64, 0, 1, 11)
    assert request[14:] == b"eventsource\0body"


def test_an_answer_is_told_from_what_is_none() -> None:
    assert answer_body(struct.pack(">ib", 1, 0) + b"body") == b"body"
    for wrong in (b"", b"\0\0", struct.pack(">ib", 2, 0), struct.pack(">ib", 1, 1)):
        with pytest.raises(ConnectionError):
            answer_body(wrong)


def test_a_marker_is_that_of_the_protocol() -> None:
    name = bytes([len(WHERE[0]) + 1]) + WHERE[0].encode()
    body = encode_marker(WHERE, OPEN, commit=True)
    assert (
        body == b"\2" + struct.pack(">qhb", 4, 1, 1) + b"\2" + name + b"\2" + struct.pack(">ibib", 3, 0, 6, 0) + b"\0"
    )
    assert encode_marker(WHERE, OPEN, commit=False)[11] == 0
    assert b"\xc9\x01" + b"x" * 200 in encode_marker(("x" * 200, 0), OPEN, commit=False)


def test_open_transactions_are_read() -> None:
    def producer(id_: int, first: int) -> bytes:
        return struct.pack(">qiiqiqx", id_, 1, 7, 1_000, 6, first)

    name = bytes([len(WHERE[0]) + 1]) + WHERE[0].encode()
    partition = struct.pack(">ih", 3, 0) + b"\0" + b"\3" + producer(4, 107) + producer(5, -1) + b"\0"
    answer = struct.pack(">i", 0) + b"\2" + name + b"\2" + partition + b"\0\0"
    assert read_producers(answer) == (0, [OPEN])
    refused = struct.pack(">i", 0) + b"\2" + name + b"\2" + struct.pack(">ih", 3, 29) + b"\3no" + b"\1" + b"\0\0\0"
    assert read_producers(refused) == (29, [])
    for length in range(len(answer) - 3):
        with pytest.raises((struct.error, IndexError)):
            read_producers(answer[:length])


@pytest.mark.parametrize("error", [0, 47])
def test_the_error_of_the_partition_is_read(error: int) -> None:
    name = bytes([len(WHERE[0]) + 1]) + WHERE[0].encode()
    answer = b"\2" + struct.pack(">q", 4) + b"\2" + name + b"\2" + struct.pack(">ihbbbb", 3, error, 0, 0, 0, 0)
    assert read_error(answer, WHERE) == error
    with pytest.raises(IndexError):
        read_error(answer, (WHERE[0], 4))


def test_a_broker_that_is_not_there_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(
        LogError, match=r"(?s)ending the transaction of producer 4 in bank\.account\.events\[3\].*kafka-transactions"
    ):
        write_marker(("127.0.0.1", choose_port([], taken=set())), WHERE, OPEN, commit=True)
