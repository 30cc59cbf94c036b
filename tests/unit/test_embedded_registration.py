"""Taking a broker's registration away. What a controller does with it is in tests/faults/test_broker_ends.py."""

from __future__ import annotations

import struct

import pytest

from eventsource.embedded.ports import choose_port
from eventsource.embedded.registration import error_code, unregister_broker
from eventsource.errors import EmbeddedStackError


def test_the_answers_error_is_read() -> None:
    assert error_code(struct.pack(">ihbb", 0, 102, 0, 0)) == 102
    with pytest.raises(ConnectionError):
        error_code(b"\0\0")


def test_a_controller_that_does_not_answer_is_an_error() -> None:
    with pytest.raises(EmbeddedStackError, match=r"did not unregister broker 1 within 0\.2 s"):
        unregister_broker(1, choose_port([], taken=set()), timeout_seconds=0.2)
