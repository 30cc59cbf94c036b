from __future__ import annotations

from eventsource.commands.deduplication import CLOCK_SKEW_MS, Answer, Deduplication
from eventsource.commands.status import Status

DAY_MS = 86_400_000


def an_answer(index: int = -1, offset: int = -1) -> Answer:
    return Answer(b"12345678", Status.ACCEPTED, 1, offset, index)


def test_a_repetition_within_one_batch_is_known() -> None:
    known = Deduplication(DAY_MS)
    answer = an_answer(index=0)
    known.add("c-1", answer, 0)
    assert known.find("c-1") is answer


def test_what_was_not_committed_is_forgotten() -> None:
    known = Deduplication(DAY_MS)
    known.add("c-1", an_answer(), 0)
    known.rollback()
    assert known.find("c-1") is None
    known.commit([])
    assert known.find("c-1") is None


def test_a_commit_gives_answers_their_offsets() -> None:
    known = Deduplication(DAY_MS)
    known.add("c-1", an_answer(index=1), 0)
    known.commit([40, 41])
    found = known.find("c-1")
    assert found is not None
    assert (found.offset, found.index) == (41, -1)


def handle(known: Deduplication, command_id: str, appended_at_ms: int) -> None:
    known.add(command_id, an_answer(), appended_at_ms)
    known.commit([])
    known.forget_in_memory()


def test_ids_are_kept_for_the_window_and_the_clock_skew_and_forgotten_within_the_next() -> None:
    known = Deduplication(DAY_MS)
    handle(known, "old", 0)
    handle(known, "at the edge", DAY_MS + CLOCK_SKEW_MS)
    assert known.find("old") is not None
    handle(known, "ends an age", DAY_MS + CLOCK_SKEW_MS + 1)
    assert known.find("old") is not None
    handle(known, "ends the next", 2 * (DAY_MS + CLOCK_SKEW_MS + 1) + 1)
    assert len(known) == 1
    assert known.find("old") is None
    assert known.find("ends the next") is not None


def test_an_id_is_never_forgotten_while_a_repetition_would_still_be_executed() -> None:
    known = Deduplication(DAY_MS)
    sent_at = 1_000_000
    handle(known, "c-1", sent_at - CLOCK_SKEW_MS)  # appended by a broker whose clock is an hour behind
    resent_at = sent_at + DAY_MS
    assert not known.is_expired(sent_at, resent_at)
    handle(known, "later", resent_at)
    handle(known, "again", resent_at)
    assert known.find("c-1") is not None


def test_an_answer_survives_its_packing() -> None:
    for answer in (
        Answer(b"12345678", Status.ACCEPTED, 3, 17),
        Answer(b"12345678", Status.REJECTED, 0, -1, -1, "insufficient_funds", '{"available":"1.00"}'),
        Answer(b"12345678", Status.FAILED, 2, 5, -1, "", "käse"),
    ):
        assert Answer.unpack(answer.pack()) == answer


def test_a_command_older_than_the_window_is_expired() -> None:
    known = Deduplication(DAY_MS)
    assert not known.is_expired(0, DAY_MS)
    assert known.is_expired(0, DAY_MS + 1)


def test_without_a_window_nothing_expires_and_nothing_is_forgotten() -> None:
    known = Deduplication(None)
    known.remember("c-1", an_answer(), 0, 0)
    known.add("c-2", an_answer(), 10 * DAY_MS)
    known.commit([])
    known.forget_in_memory()
    assert known.find("c-1") is not None
    assert not known.is_expired(0, 1000 * DAY_MS)
