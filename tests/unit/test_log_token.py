from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventsource.errors import DecodeError
from eventsource.log.token import Token


@given(
    st.builds(
        Token,
        st.binary(min_size=16, max_size=16),
        st.integers(0, 2**31 - 1),
        st.integers(-1, 2**63 - 1),
        st.text(max_size=40),
        st.integers(0, 2**63 - 1),
    )
)
def test_a_token_survives_being_text(token: Token) -> None:
    text = str(token)
    assert Token.parse(text) == token
    assert text.isascii()
    assert not set(text) & set("+/= ")


@pytest.mark.parametrize("text", ["", "x", "not a token", "AAAA", "é", "A" * 40])
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(DecodeError, match="token"):
        Token.parse(text)
