from __future__ import annotations

import time
from itertools import pairwise
from uuid import RFC_4122, UUID

from eventsource.clock import RandomIds


def test_ids_are_uuids_of_version_7_in_canonical_form_that_begin_with_the_time() -> None:
    before_ms = time.time_ns() // 1_000_000
    text = RandomIds().new()
    after_ms = time.time_ns() // 1_000_000
    found = UUID(text)
    assert str(found) == text
    assert (found.version, found.variant) == (7, RFC_4122)
    assert before_ms <= found.int >> 80 <= after_ms


def test_ids_of_one_millisecond_differ_in_74_bits() -> None:
    ids = [UUID(RandomIds().new()).int for _ in range(1_000)]
    changing = 0
    for one, other in pairwise(ids):
        changing |= one ^ other
    fixed = 0xF << 76 | 0x3 << 62
    assert changing & fixed == 0
    random = (1 << 80) - 1 & ~fixed
    assert changing & random == random
    assert len(set(ids)) == len(ids)
