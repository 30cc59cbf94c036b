"""Compiled answers and replies have the bytes that the formats state."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventsource.commands import native_answers
from eventsource.commands.deduplication import Answer
from eventsource.commands.reply import Reply, encode_reply
from eventsource.commands.status import Status

signed = st.integers(-(2**63), 2**63 - 1)
statuses = st.sampled_from(Status)
digests = st.binary(min_size=8, max_size=8)


@given(digests, statuses, signed, signed)
def test_an_answer_has_the_bytes_of_its_format(digest: bytes, status: Status, version: int, offset: int) -> None:
    packed = native_answers.pack_answer(digest, status, version, offset)
    assert packed == struct.pack(">8sBqqH", digest, status, version, offset, 0)
    assert Answer(digest, status, version, offset).pack() == packed
    assert Answer.unpack(packed) == Answer(digest, status, version, offset)


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    statuses,
    st.integers(0, 2**31 - 1),
    signed,
    signed,
    st.integers(0, 2**32 - 1),
    digests,
)
def test_a_reply_has_the_bytes_of_its_format(
    command_id: str, status: Status, partition: int, offset: int, version: int, crc: int, digest: bytes
) -> None:
    id_bytes = command_id.encode()
    written = encode_reply(command_id, status, partition, offset, version, topic_crc=crc, body_hash=digest)
    fixed = (1, status, partition, offset, version, crc, digest, len(id_bytes), 0, 0, 0)
    assert written == struct.pack(">BBiqqI8sHHII", *fixed) + id_bytes
    assert Reply.decode_all(written) == [
        Reply(command_id, status, partition, offset, version, topic_crc=crc, body_hash=digest)
    ]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="8 bytes"):
        native_answers.pack_answer(b"short", 0, 0, 0)
    with pytest.raises(ValueError, match="8 bytes"):
        native_answers.encode_reply("c", 0, 0, 0, 0, 0, b"")
    with pytest.raises(OverflowError):
        native_answers.encode_reply("x" * 65_536, 0, 0, 0, 0, 0, bytes(8))
    with pytest.raises(OverflowError):
        native_answers.pack_answer(bytes(8), 0, 2**63, 0)
