from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

import pytest

from eventsource.commands.deferred_sends import DeferredSends
from eventsource.errors import Backlogged


class Sends:
    """What is sent and what fails, in order."""

    def __init__(self) -> None:
        self.deferred = DeferredSends(100)
        self.done: list[str] = []

    def __call__(self, address: str, name: str, registering: Future[None] | None = None) -> None:
        def fail(error: BaseException) -> None:
            self.done.append(f"{name}: {error}")

        send: Callable[[], None] = lambda: self.done.append(name)  # noqa: E731
        if not self.deferred.defer(address, registering, send, fail):
            send()


def test_what_waits_for_nothing_is_sent_by_the_caller() -> None:
    send = Sends()
    send("acc-1", "first")
    assert send.done == ["first"]
    assert len(send.deferred) == 0


def test_what_is_registered_later_is_sent_then() -> None:
    send, registering = Sends(), Future[None]()
    send("acc-1", "first", registering)
    assert send.done == []
    registering.set_result(None)
    assert send.done == ["first"]
    assert len(send.deferred) == 0


def test_nothing_overtakes_what_waits_for_the_same_aggregate() -> None:
    send, opening, closing = Sends(), Future[None](), Future[None]()
    send("acc-1", "open", opening)
    send("acc-1", "load")
    send("acc-1", "close", closing)
    send("acc-1", "load again")
    send("acc-2", "another's")
    assert send.done == ["another's"]
    closing.set_result(None)
    assert send.done == ["another's"]
    opening.set_result(None)
    assert send.done == ["another's", "open", "load", "close", "load again"]
    send("acc-1", "later")
    assert send.done[-1] == "later"


def test_no_more_wait_than_may() -> None:
    send, registering = Sends(), Future[None]()
    for number in range(100):
        send(f"acc-{number}", str(number), registering)
    for address in ("acc-1", "acc-new"):
        with pytest.raises(Backlogged):
            send(address, "one too many", registering)
    send("acc-other", "needs no place")
    registering.set_result(None)
    assert sorted(send.done) == sorted(["needs no place", *map(str, range(100))])
    assert len(send.deferred) == 0
    send("acc-1", "later", Future())


def test_what_cannot_be_registered_fails_and_holds_nothing_up() -> None:
    send, registering = Sends(), Future[None]()
    send("acc-1", "first", registering)
    send("acc-1", "second")
    registering.set_exception(ValueError("another text"))
    assert send.done == ["first: another text", "second"]


def test_order_holds_while_threads_register_and_send() -> None:
    for _ in range(200):
        send, opening, closing = Sends(), Future[None](), Future[None]()
        send("acc-1", "0", opening)
        send("acc-1", "1", closing)
        threads = [threading.Thread(target=future.set_result, args=(None,)) for future in (opening, closing)]
        for thread in threads:
            thread.start()
        for number in range(2, 6):
            send("acc-1", str(number), closing if number % 2 else None)
        for thread in threads:
            thread.join()
        assert send.done == [str(number) for number in range(6)]


def test_one_thread_at_a_time_sends_to_an_address() -> None:
    deferred, opening, closing = DeferredSends(100), Future[None](), Future[None]()
    done: list[str] = []

    def first() -> None:
        done.append("first")
        if not closing.done():  # another thread has registered its schema, while this one sends
            registering = threading.Thread(target=closing.set_result, args=(None,))
            registering.start()
            registering.join()

    assert deferred.defer("acc-1", opening, first, lambda _: None)
    assert deferred.defer("acc-1", closing, lambda: done.append("second"), lambda _: None)
    opening.set_result(None)
    assert done == ["first", "second"]
    assert len(deferred) == 0
