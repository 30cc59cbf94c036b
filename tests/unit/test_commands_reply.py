from __future__ import annotations

import struct

import pytest

from eventsource.commands.reply import Reply, topic_crc
from eventsource.commands.status import Status
from eventsource.errors import DecodeError

SHORT = Reply("c-1", Status.ACCEPTED, 3, 40, 7, topic_crc=5, body_hash=b"12345678")
LONG = Reply(
    "ü" * 512, Status.REJECTED, 3, -1, 0, "too_much", '{"available":"4"}', b"\xc3\x01state", 2**32 - 1, b"\xff" * 8
)


def test_replies_of_one_record_come_back_as_they_were() -> None:
    assert Reply.decode_all(SHORT.encode() + LONG.encode() + SHORT.encode()) == [SHORT, LONG, SHORT]


def test_the_bytes_are_those_of_the_wire_reference() -> None:
    data = SHORT.encode()
    assert data[:2] == b"\x01\x00"
    assert struct.unpack(">iqqI", data[2:26]) == (3, 40, 7, 5)
    assert data[26:34] == b"12345678"
    assert struct.unpack(">HHII", data[34:46]) == (3, 0, 0, 0)
    assert data[46:] == b"c-1"
    assert topic_crc("123456789") == 0xCBF43926  # the check value of CRC-32


@pytest.mark.parametrize("data", [SHORT.encode()[:-1], LONG.encode()[:20], b"\x02" + SHORT.encode()[1:]])
def test_what_is_no_reply_of_this_version_says_so(data: bytes) -> None:
    with pytest.raises(DecodeError, match="upgrade the client"):
        Reply.decode_all(data)
