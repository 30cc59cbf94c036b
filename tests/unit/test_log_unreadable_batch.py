from __future__ import annotations

import pytest
from confluent_kafka import KafkaError
from hypothesis import given
from hypothesis import strategies as st

from eventsource.log.unreadable_batch import base_of, offset_behind


@given(st.integers(0, 10**9), st.integers(1, 10**6), st.integers(0, 100))
def test_the_end_of_a_batch_is_found_by_few_questions(base: int, records: int, more: int) -> None:
    asked: list[int] = []

    def is_inside(offset: int) -> bool:
        asked.append(offset)
        return base <= offset < base + records

    assert offset_behind(base, base + records + more, is_inside) == base + records
    assert len(asked) <= 2 * records.bit_length() + 2


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("Decompression (codec 0x4) of message at 17 of 3688 bytes failed: Local: Invalid compressed data", 17),
        ("else", 5),
    ],
)
def test_the_batch_is_named_as_librdkafka_names_it(text: str, base: int) -> None:
    assert base_of(KafkaError(KafkaError._BAD_COMPRESSION, text), 5) == base
