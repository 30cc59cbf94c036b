from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import example, given, settings
from hypothesis import strategies as st

from eventsource.log.recorded import ms_from_time, time_from_ms

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST_MS = ms_from_time(datetime(9999, 12, 31, tzinfo=UTC))


@given(st.integers(-62_000_000_000_000, LAST_MS))
@example(0)
@example(2**32 * 1_000 - 1)
@example(2**32 * 1_000)
@example(1_700_000_000_001)
@settings(max_examples=200)
def test_a_time_is_its_milliseconds_exactly(milliseconds: int) -> None:
    time = time_from_ms(milliseconds)
    assert time == EPOCH + timedelta(milliseconds=milliseconds)
    assert ms_from_time(time) == milliseconds
