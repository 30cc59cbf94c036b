"""Whatever text a command may carry, Postgres can hold; what is rejected for a NUL character, it cannot."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from eventsource.log.texts import fault_of


@pytest.fixture(scope="module")
def connection(eventsource_stack: Any) -> Any:
    with psycopg.connect(eventsource_stack.postgres_url, autocommit=True) as made:
        yield made


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(st.characters() | st.sampled_from("\0\x01\x7f\ufffe\uffff\ud800\udfff\U0010ffff"), max_size=8))
@example("a\0b")
@example("\ud800")
def test_a_text_is_accepted_exactly_where_postgres_holds_it(connection: Any, text: str) -> None:
    try:
        (found,) = connection.execute("SELECT %s::text", [text]).fetchone()
        assert found == text
        held = True
    except (psycopg.DataError, UnicodeEncodeError):
        held = False
    assert (fault_of(text, 1_024) is None) == held
