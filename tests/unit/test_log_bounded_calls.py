from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from eventsource.log.bounded_calls import BoundedCalls, NeverReturned


@pytest.fixture
def calls() -> Iterator[BoundedCalls]:
    made = BoundedCalls()
    yield made
    made.close()


def test_a_call_returns_and_raises_as_it_would(calls: BoundedCalls) -> None:
    assert calls.call(10, divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        calls.call(10, divmod, 7, 0)


def test_a_time_out_of_the_function_itself_is_its_own(calls: BoundedCalls) -> None:
    def times_out() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        calls.call(10, times_out)


def test_a_call_that_does_not_return_is_given_up(calls: BoundedCalls) -> None:
    release = threading.Event()
    with pytest.raises(NeverReturned):
        calls.call(0.01, release.wait)
    release.set()


def test_no_thread_is_left(calls: BoundedCalls) -> None:
    ran: list[threading.Thread] = []
    calls.call(10, lambda: ran.append(threading.current_thread()))
    calls.close()
    ran[0].join(10)
    assert not ran[0].is_alive()
