from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime

import pytest

from eventsource.commands.pending import Pending
from eventsource.commands.receipt import Receipt
from eventsource.errors import BrokerUnavailable, DecodeError, InvalidArgument, LoadUnanswered, NotFound, OutcomeUnknown
from eventsource.log.token import Token

RECEIPT = Receipt("c-1", "acc-1", 3, Token(bytes(16), 0, 5, "acc-1", 3))


@pytest.fixture
def pending() -> Pending:
    return Pending("c-1", "acc-1", datetime(2026, 1, 1, tzinfo=UTC))


def test_a_thread_that_waits_gets_the_receipt(pending: Pending) -> None:
    threading.Timer(0.01, pending.resolve, [RECEIPT]).start()
    assert pending.result(5) == RECEIPT


def test_a_coroutine_that_awaits_gets_the_receipt(pending: Pending) -> None:
    async def wait() -> Receipt:
        threading.Timer(0.01, pending.resolve, [RECEIPT]).start()
        return await pending

    assert asyncio.run(wait()) == RECEIPT


def test_an_answer_that_was_there_before_is_returned_at_once(pending: Pending) -> None:
    pending.resolve(RECEIPT)

    async def wait() -> Receipt:
        return await pending

    assert pending.result() == asyncio.run(wait()) == RECEIPT


def test_the_first_answer_counts(pending: Pending) -> None:
    assert pending.resolve(None, NotFound("account", "acc-1"))
    assert not pending.resolve(RECEIPT)
    with pytest.raises(NotFound):
        pending.result()


def test_impatience_is_an_unknown_outcome_that_carries_what_a_retry_needs(pending: Pending) -> None:
    with pytest.raises(OutcomeUnknown) as caught:
        pending.result(0.001)
    assert (caught.value.command_id, caught.value.sent_at) == ("c-1", datetime(2026, 1, 1, tzinfo=UTC))
    pending.resolve(RECEIPT)
    assert pending.result() == RECEIPT


def test_a_cancelled_wait_leaves_the_command_on_its_way(pending: Pending) -> None:
    async def wait() -> Receipt:
        return await pending

    async def cancel_then_wait() -> Receipt:
        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        pending.resolve(RECEIPT)
        return await pending

    assert asyncio.run(cancel_then_wait()) == RECEIPT


def test_callbacks_run_once_each(pending: Pending) -> None:
    called: list[str] = []
    pending.add_done_callback(lambda done: called.append(done.command_id))
    pending.resolve(RECEIPT)
    pending.resolve(RECEIPT)
    pending.add_done_callback(lambda done: called.append("late"))
    assert called == ["c-1", "late"]


def test_a_callback_that_raises_keeps_no_other_from_its_answer(pending: Pending) -> None:
    called: list[str] = []
    pending.add_done_callback(lambda done: called.append(str(1 / 0)))
    pending.add_done_callback(lambda done: called.append(done.command_id))
    assert pending.resolve(RECEIPT)
    assert called == ["c-1"]


def test_an_answer_that_takes_long_to_read_is_read_once_and_not_by_who_brings_it(pending: Pending) -> None:
    read_by: list[int] = []

    def read() -> Receipt:
        read_by.append(threading.get_ident())
        return RECEIPT

    bringer = threading.Thread(target=pending.resolve_with, args=(read,))
    bringer.start()
    bringer.join()
    assert pending.done()
    assert read_by == []
    assert pending.result() is pending.result()
    pending._read_once()  # as a second thread does that asked at the same moment
    assert read_by == [threading.get_ident()]
    assert pending.result() == RECEIPT


def test_a_coroutine_reads_such_an_answer_outside_of_its_loop(pending: Pending) -> None:
    read_by: list[int] = []

    def read() -> Receipt:
        read_by.append(threading.get_ident())
        return RECEIPT

    async def wait() -> Receipt:
        pending.resolve_with(read)
        return await pending

    assert asyncio.run(wait()) == RECEIPT
    assert read_by != [threading.get_ident()]


def test_an_answer_that_cannot_be_read_is_told_to_everyone_and_one_that_may_be_later_is_tried_again(
    pending: Pending,
) -> None:
    errors: list[Exception] = [BrokerUnavailable("away"), DecodeError("damaged")]

    def read() -> Receipt:
        raise errors.pop(0)

    pending.resolve_with(read)
    with pytest.raises(BrokerUnavailable):
        pending.result()
    for _ in range(2):
        with pytest.raises(DecodeError):
            pending.result()


def test_a_load_that_is_not_answered_says_that_it_can_be_repeated() -> None:
    load: Pending = Pending("l-1", "acc-1", datetime(2026, 1, 1, tzinfo=UTC), unanswered=LoadUnanswered)
    with pytest.raises(LoadUnanswered, match="load it again"):
        load.result(0.001)
    assert isinstance(load.unanswered(1.0), OutcomeUnknown)
    assert load.unanswered(1.0).command_id == "l-1"


@pytest.mark.parametrize("timeout", [float("inf"), float("nan"), -1, 10**400])
def test_a_wait_that_no_clock_can_measure_is_refused(pending: Pending, timeout: float) -> None:
    with pytest.raises(InvalidArgument, match="give seconds"):
        pending.result(timeout)


@pytest.mark.parametrize("raised", [SystemExit(1), asyncio.CancelledError(), KeyboardInterrupt(), GeneratorExit()])
def test_nothing_that_a_callback_raises_ends_the_clients_thread(pending: Pending, raised: BaseException) -> None:
    called: list[str] = []
    ended: list[str] = []

    def fail(_: Pending) -> None:
        raise raised

    def run() -> None:
        pending.resolve(RECEIPT)
        ended.append("as it should")

    pending.add_done_callback(fail)
    pending.add_done_callback(lambda done: called.append(done.command_id))
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert called == ["c-1"]
    assert ended == ["as it should"]


def test_an_interruption_of_the_main_thread_interrupts_it_once_everyone_has_the_answer(pending: Pending) -> None:
    called: list[str] = []

    def interrupt(_: Pending) -> None:
        raise KeyboardInterrupt

    pending.add_done_callback(interrupt)
    pending.add_done_callback(lambda done: called.append(done.command_id))
    with pytest.raises(KeyboardInterrupt):
        pending.resolve(RECEIPT)
    assert called == ["c-1"]
    assert pending.result() == RECEIPT


def test_what_was_not_sent_when_it_expired_is_never_sent(pending: Pending) -> None:
    pending.hold(BrokerUnavailable("nothing was sent"))
    with pytest.raises(OutcomeUnknown):
        pending.result(0.001)  # it may be sent yet
    assert pending.expire(1.0)
    assert not pending.release()
    with pytest.raises(BrokerUnavailable):
        pending.result()


def test_what_was_sent_when_it_expired_has_an_unknown_outcome(pending: Pending) -> None:
    pending.hold(BrokerUnavailable("nothing was sent"))
    assert pending.release()
    assert pending.expire(1.0)
    assert not pending.expire(1.0)
    with pytest.raises(OutcomeUnknown):
        pending.result()
