"""The request that takes a broker's registration away. What a controller does with it is in tests/faults/test_broker_ends.py."""

from __future__ import annotations

import struct

import pytest

from eventsource.embedded.ports import choose_port
from eventsource.embedded.registration import error_code, unregister_broker, unregister_request
from eventsource.errors import EmbeddedStackError


def test_the_request_is_that_of_the_protocol() -> None:
    request = unregister_request(7, 3)
    assert struct.unpack_from(">ihhih", request) == (len(request) - 4, 64, 0, 3, 20)
    assert request[14:] == b"eventsource-embedded" + b"\0" + struct.pack(">i", 7) + b"\0"


def test_the_answers_error_is_read() -> None:
    assert error_code(struct.pack(">ibihbb", 3, 0, 0, 102, 0, 0), 3) == 102


@pytest.mark.parametrize("answer", [b"", b"\0\0\0\3", struct.pack(">ibihbb", 4, 0, 0, 0, 0, 0)])
def test_what_is_no_answer_to_it_is_told_apart(answer: bytes) -> None:
    with pytest.raises(ConnectionError):
        error_code(answer, 3)


def test_a_controller_that_does_not_answer_is_an_error() -> None:
    with pytest.raises(EmbeddedStackError, match=r"did not unregister broker 1 within 0\.2 s"):
        unregister_broker(1, choose_port([], taken=set()), timeout_seconds=0.2)
