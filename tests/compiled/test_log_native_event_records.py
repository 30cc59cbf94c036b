"""Compiled records of events are those that Python makes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventsource.log.event_records import EventRecords as Reference
from eventsource.log.headers import NO_TRAIL_BYTES, Trail, source_header, trail_bytes, type_header
from eventsource.log.native_event_records import EventRecords
from eventsource.log.record import Outgoing, Record

TOPIC_ID = bytes(range(16))
INT64 = st.integers(-(2**63), 2**63 - 1)
texts = st.text(max_size=30)
trails = st.builds(Trail, texts, texts, texts, st.dictionaries(texts, texts, max_size=3))
commands = st.builds(Record, texts, st.integers(-(2**31), 2**31 - 1), INT64, INT64, st.binary(max_size=30), st.none())


parts_of_an_event = st.tuples(
    commands,
    st.text(max_size=1_024),
    st.binary(min_size=8, max_size=8),
    st.just(NO_TRAIL_BYTES) | st.builds(trail_bytes, trails),
    st.builds(type_header, texts, st.integers(1, 9)),
    st.binary(max_size=60),
    st.integers(0, 2**63 - 1),
    st.integers(1, 2**31),
    st.integers(1, 2**31),
)


@given(parts_of_an_event)
def test_the_record_of_an_event_is_the_references(parts: tuple[Any, ...]) -> None:
    place = "b.account.events", 3, source_header("/b/account"), TOPIC_ID
    made = EventRecords(*place).event(*parts)
    assert type(made) is Outgoing
    assert made == Reference(*place).event(*parts)


def test_what_is_no_record_or_header_is_refused() -> None:
    records = EventRecords("t", 0, source_header("/s"), TOPIC_ID)
    command = Record("c", 0, 1, 2, b"k", b"v")
    parts = command, "c-1", bytes(8), NO_TRAIL_BYTES, type_header("t"), b"", 1, 1, 1
    for place, wrong in ((0, ("c",)), (0, [None] * 7), (2, b"short"), (4, ("t",))):
        with pytest.raises(TypeError, match="a Record is a tuple of seven"):
            records.event(*parts[:place], wrong, *parts[place + 1 :])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="16 bytes"):
        EventRecords("t", 0, source_header("/s"), b"short")
    with pytest.raises(TypeError, match="cannot be copied"):
        copy.copy(records)
