from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from eventsource.clock import SystemClock
from eventsource.commands.in_flight import Content, InFlight, Waiting
from eventsource.commands.pending import Pending
from eventsource.commands.reply import Reply, topic_crc
from eventsource.commands.status import Status
from eventsource.errors import Backlogged, ClientClosed, CommandIdReused
from eventsource.log.headers import body_hash
from eventsource.testing import VirtualClock

SENT_AT = datetime(2026, 1, 1, tzinfo=UTC)


def pending(command_id: str) -> Pending:
    return Pending(command_id, "acc-1", SENT_AT)


def content_of(text: str = "", topic: str = "bank.account.commands") -> Content:
    return Content(topic_crc(topic), body_hash(b"acc-1", "deposit", text.encode()))


def reply(command_id: str, content: Content | None = None, status: Status = Status.ACCEPTED) -> Reply:
    content = content or content_of()
    return Reply(command_id, status, 0, 0, 1, topic_crc=content.topic_crc, body_hash=content.body_hash)


def enter(
    in_flight: InFlight,
    command_id: str,
    *,
    content: Content | None = None,
    timeout_seconds: float = 30.0,
    wait: bool = False,
) -> Waiting:
    return in_flight.enter(pending(command_id), content or content_of(), lambda reply: None, timeout_seconds, wait=wait)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(SENT_AT)


def test_the_memory_of_deadlines_does_not_grow_with_what_was_answered(clock: VirtualClock) -> None:
    in_flight = InFlight(100, clock)
    most = 0
    for number in range(20_000):
        enter(in_flight, f"c-{number}")
        if number >= 50:
            in_flight.take([reply(f"c-{number - 50}")])
        most = max(most, in_flight.deadlines)
    assert len(in_flight) == 50
    assert most < 200


def test_no_deadline_is_forgotten(clock: VirtualClock) -> None:
    in_flight = InFlight(1_000, clock)
    for number in range(1_000):
        enter(in_flight, f"c-{number}", timeout_seconds=1 + number % 7)
        if number % 10:
            in_flight.take([reply(f"c-{number}")])
    clock.advance(timedelta(seconds=4))
    expired = {waiting.pending.command_id for waiting in in_flight.take_expired(clock.monotonic())}
    assert expired == {f"c-{number}" for number in range(0, 1_000, 10) if number % 7 <= 3}
    clock.advance(timedelta(seconds=4))
    in_flight.take_expired(clock.monotonic())
    assert len(in_flight) == 0


def test_a_command_sent_again_has_its_new_deadline(clock: VirtualClock) -> None:
    in_flight = InFlight(10, clock)
    enter(in_flight, "c-1", timeout_seconds=5)
    in_flight.take([reply("c-1")])
    clock.advance(timedelta(seconds=3))
    enter(in_flight, "c-1", timeout_seconds=5)
    clock.advance(timedelta(seconds=3))
    assert in_flight.take_expired(clock.monotonic()) == []
    clock.advance(timedelta(seconds=3))
    assert [waiting.pending.command_id for waiting in in_flight.take_expired(clock.monotonic())] == ["c-1"]


def test_two_under_one_id_share_their_place_or_are_refused(clock: VirtualClock) -> None:
    in_flight = InFlight(10, clock)
    first = enter(in_flight, "c-1", content=content_of("x"))
    assert enter(in_flight, "c-1", content=content_of("x")) is first
    with pytest.raises(CommandIdReused):
        enter(in_flight, "c-1", content=content_of("y"))
    assert len(in_flight) == 1


def equal_content(text: str, meaning: str) -> Content:
    return content_of(text)._replace(equal_hash=meaning.encode)


def test_equal_content_in_other_bytes_is_a_repetition_whose_answer_names_the_bytes_that_were_sent(
    clock: VirtualClock,
) -> None:
    in_flight = InFlight(10, clock)
    first = enter(in_flight, "c-1", content=equal_content("a, b", "ab"))
    assert enter(in_flight, "c-1", content=equal_content("b, a", "ab")) is first
    for other in (equal_content("a, c", "ac"), equal_content("b, a", "ab")._replace(expected_version=2)):
        with pytest.raises(CommandIdReused):
            enter(in_flight, "c-1", content=other)
    assert in_flight.take([reply("c-1", content_of("b, a"))]) == []
    answer = reply("c-1", content_of("a, b"))
    assert in_flight.take([answer]) == [(first, answer)]


@pytest.mark.parametrize("status", [Status.ACCEPTED, Status.COMMAND_ID_REUSED])
@pytest.mark.parametrize(
    "given_up", [content_of("x"), content_of("y", topic="bank.card.commands")], ids=["other body", "other topic"]
)
def test_a_late_answer_to_other_content_under_the_id_answers_nobody(
    clock: VirtualClock, given_up: Content, status: Status
) -> None:
    in_flight = InFlight(10, clock)
    enter(in_flight, "c-1", content=given_up, timeout_seconds=1)
    clock.advance(timedelta(seconds=2))
    in_flight.take_expired(clock.monotonic())
    mine = enter(in_flight, "c-1", content=content_of("y"))
    assert in_flight.take([reply("c-1", given_up, status)]) == []
    assert len(in_flight) == 1
    refused = reply("c-1", content_of("y"), Status.COMMAND_ID_REUSED)
    assert in_flight.take([refused]) == [(mine, refused)]


def test_a_late_answer_to_the_same_command_is_its_answer_whatever_version_is_expected_now(clock: VirtualClock) -> None:
    in_flight = InFlight(10, clock)
    mine = enter(in_flight, "c-1", content=content_of("x")._replace(expected_version=5))
    late = reply("c-1", content_of("x"))
    assert in_flight.take([late]) == [(mine, late)]


def test_of_threads_that_send_one_id_at_once_one_sends(clock: VirtualClock) -> None:
    in_flight = InFlight(10, clock)
    barrier = threading.Barrier(8)
    taken: list[bool] = []

    def run() -> None:
        mine = pending("c-1")
        barrier.wait()
        waiting = in_flight.enter(mine, content_of("x"), lambda reply: None, 5, wait=True)
        taken.append(waiting.pending is mine)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [False] * 7 + [True]


def test_a_full_client_tells_at_once_or_after_the_time_out(clock: VirtualClock) -> None:
    in_flight = InFlight(2, SystemClock())
    enter(in_flight, "c-1")
    enter(in_flight, "c-2")
    with pytest.raises(Backlogged) as told:
        enter(in_flight, "c-3")
    assert told.value.in_flight == 2
    with pytest.raises(Backlogged):
        enter(in_flight, "c-3", wait=True, timeout_seconds=0.01)


def test_who_waits_gets_in_with_the_first_places_to_be_free() -> None:
    in_flight = InFlight(8, SystemClock())
    for number in range(8):
        enter(in_flight, f"c-{number}")
    thread = threading.Thread(target=enter, args=(in_flight, "late"), kwargs={"wait": True})
    thread.start()
    in_flight.take([reply("c-0")])
    thread.join(10)
    assert not thread.is_alive()
    assert len(in_flight) == 8


def test_who_waits_gets_in_although_most_requests_stay_unanswered() -> None:
    in_flight = InFlight(800, SystemClock())
    for number in range(800):
        enter(in_flight, f"c-{number}")
    thread = threading.Thread(target=enter, args=(in_flight, "late"), kwargs={"wait": True})
    thread.start()
    in_flight.take([reply("c-0")])  # an eighth would be a hundred
    thread.join(10)
    assert not thread.is_alive()


def test_who_waits_is_told_of_the_end() -> None:
    in_flight = InFlight(1, SystemClock())
    enter(in_flight, "c-1")
    told: list[str] = []

    def wait() -> None:
        try:
            enter(in_flight, "c-2", wait=True)
        except ClientClosed as error:
            told.append(str(error))

    thread = threading.Thread(target=wait)
    thread.start()
    in_flight.end("it is over")
    thread.join(10)
    assert told == ["it is over"]
    with pytest.raises(ClientClosed):
        enter(in_flight, "c-3")


def test_a_place_is_given_back_once(clock: VirtualClock) -> None:
    in_flight = InFlight(2, clock)
    waiting = enter(in_flight, "c-1")
    assert in_flight.leave(waiting.pending)
    assert not in_flight.leave(waiting.pending)
    again = enter(in_flight, "c-1")
    assert not in_flight.leave(waiting.pending)  # the id is another request's now
    assert in_flight.leave(again.pending)
    assert in_flight.take([reply("c-1")]) == []


@pytest.mark.parametrize("wait", [True, False])
def test_a_repetition_of_what_is_in_flight_needs_no_place(wait: bool) -> None:
    in_flight = InFlight(2, SystemClock())
    first = enter(in_flight, "c-1")
    enter(in_flight, "c-2")
    assert enter(in_flight, "c-1", wait=wait, timeout_seconds=0.05) is first
    with pytest.raises(CommandIdReused):
        enter(in_flight, "c-1", content=content_of("y"), wait=wait, timeout_seconds=0.05)
    assert len(in_flight) == 2
