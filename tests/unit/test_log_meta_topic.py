"""Records of topics: anything else in their place is refused as such, whatever it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventsource.log.meta_topic import TopicRecord, parse_topic_record

GOOD = {"partitions": 4, "topic_id": "0123456789abcdef" * 2}


def test_a_record_is_read() -> None:
    assert parse_topic_record(json.dumps(GOOD).encode()) == TopicRecord("0123456789abcdef" * 2, 4)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"null",
        b"[]",
        b"\xff",
        b"[" * 9_000,
        b'{"a":' * 1_500,
        b'{"partitions": ' + b"9" * 5_000 + b"}",
        *(
            json.dumps(GOOD | change).encode()
            for change in ({"partitions": 1e400}, {"partitions": True}, {"partitions": "4"})
        ),
        *(
            json.dumps(GOOD | change).encode()
            for change in ({"partitions": 0}, {"partitions": 10**9}, {"partitions": 4.0})
        ),
        *(
            json.dumps(GOOD | change).encode()
            for change in ({"topic_id": "x"}, {"topic_id": None}, {"topic_id": 32 * "A"})
        ),
        json.dumps(GOOD | {"more": "x" * 20_000}).encode(),
    ],
    ids=lambda value: value[:20].decode(errors="replace"),
)
def test_anything_else_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match=r"the value|a value"):
        parse_topic_record(value)


@given(
    st.one_of(
        st.binary(),
        st.recursive(st.none() | st.floats() | st.text() | st.integers(), st.lists).map(repr).map(str.encode),
    )
)
def test_no_bytes_raise_anything_else(value: Any) -> None:
    with pytest.raises(ValueError, match=r"the value|a value"):
        parse_topic_record(value)
