"""Which transaction hangs, and what was decided about it, from what its coordinator wrote down."""

from __future__ import annotations

import pytest

from eventsource.doctor.ending import end_each, find_meant
from eventsource.doctor.facts import Decision, Hanging
from eventsource.doctor.hanging import has_one_clock, judge_entries
from eventsource.log.markers import OpenTransaction
from eventsource.log.topics import TopicState
from eventsource.log.transaction_state import TransactionEntry
from eventsource.log.transaction_state import TransactionStatus as Status

WHERE = ("bank.account.events", 0)
ELSEWHERE = ("bank.account.events", 1)
MINUTE_MS = 60_000


def entries(
    *statuses: Status, at_ms: int = 0, transactional_id: str = "bank.account.0.0", where: tuple[str, int] = WHERE
) -> list[TransactionEntry]:
    """A transaction that begins at this time and goes through these states, 5 ms each."""
    return [
        TransactionEntry(
            transactional_id,
            4,
            1,
            status,
            frozenset({where} if status < Status.COMPLETE_COMMIT else ()),
            at_ms + 5 * step,
            at_ms,
        )
        for step, status in enumerate(statuses)
    ]


def judged(first_record_ms: int, found: list[TransactionEntry], *, one_clock: bool = False) -> Hanging:
    return judge_entries(WHERE, 107, first_record_ms, 30.0, found, one_clock=one_clock)


def transaction(
    started_ms: int, decision: Status, decided_ms: int, *, producer_id: int = 4, epoch: int = 1
) -> list[TransactionEntry]:
    """One that is over for its coordinator; a pid per transactional id."""
    complete = Status.COMPLETE_COMMIT if decision is Status.PREPARE_COMMIT else Status.COMPLETE_ABORT
    steps = ((Status.ONGOING, started_ms), (decision, decided_ms), (complete, decided_ms + 2))
    return [
        TransactionEntry(
            f"bank.account.0.{producer_id}",
            producer_id,
            epoch,
            status,
            frozenset({WHERE} if status is not complete else ()),
            at_ms,
            started_ms,
        )
        for status, at_ms in steps
    ]


@pytest.mark.parametrize(
    ("statuses", "decision", "completed"),
    [
        ([Status.ONGOING], Decision.NONE, False),
        ([Status.ONGOING, Status.PREPARE_COMMIT], Decision.COMMIT, False),
        ([Status.ONGOING, Status.PREPARE_COMMIT, Status.COMPLETE_COMMIT], Decision.COMMIT, True),
        ([Status.ONGOING, Status.PREPARE_ABORT, Status.COMPLETE_ABORT], Decision.ABORT, True),
        ([Status.ONGOING, Status.PREPARE_EPOCH_FENCE], Decision.ABORT, False),
    ],
)
def test_the_decision_is_what_was_written_down(statuses: list[Status], decision: Decision, completed: bool) -> None:
    found = judged(2, entries(*statuses))
    assert (found.decision, found.completed, found.transactional_id) == (decision, completed, "bank.account.0.0")
    assert (found.producer_id, found.producer_epoch, found.offset, found.age_seconds) == (4, 1, 107, 30.0)


def test_a_transaction_of_another_time_or_partition_is_not_meant() -> None:
    committed = (Status.ONGOING, Status.PREPARE_COMMIT, Status.COMPLETE_COMMIT)
    others = [
        *entries(*committed, at_ms=-MINUTE_MS),
        *transaction(MINUTE_MS, Status.PREPARE_COMMIT, MINUTE_MS + 5, producer_id=5),
        *entries(*committed, where=ELSEWHERE, transactional_id="bank.account.1.0"),
    ]
    assert judged(2, others).decision is Decision.UNKNOWN
    assert "no entry of that time" in judged(2, others).unknown_because
    aborted = entries(Status.ONGOING, Status.PREPARE_ABORT)
    assert judged(2, [*others, *aborted]).decision is Decision.ABORT


def test_neighbours_within_the_margin_do_not_count_where_one_fits_and_there_is_one_clock() -> None:
    before, after = transaction(0, Status.PREPARE_COMMIT, 10), transaction(20, Status.PREPARE_ABORT, 30)
    found = judged(22, [*before, *after], one_clock=True)
    assert (found.decision, found.transactional_id) == (Decision.ABORT, "bank.account.0.4")
    assert judged(22, [*before, *after]).decision is Decision.UNKNOWN


@pytest.mark.parametrize("behind_ms", [0, 5, 7, 11, 900, -5, -900])
@pytest.mark.parametrize(
    ("first", "second"), [(Status.PREPARE_COMMIT, Status.PREPARE_ABORT), (Status.PREPARE_ABORT, Status.PREPARE_COMMIT)]
)
@pytest.mark.parametrize("is_asked", [True, False])
def test_what_only_the_difference_of_two_clocks_tells_apart_is_not_claimed(
    first: Status, second: Status, behind_ms: int, is_asked: bool
) -> None:
    found = [*transaction(0, first, 8), *transaction(12, second, 4_000)]
    leader_knows = OpenTransaction(4, 1, 0, 107) if is_asked else None
    hanging = judge_entries(WHERE, 107, 14 - behind_ms, 30.0, found, open_there=leader_knows)
    assert hanging.decision is Decision.UNKNOWN
    assert not hanging.completed


@pytest.mark.parametrize("one_clock", [True, False])
def test_a_later_transaction_of_the_producer_that_lacks_its_marker_too_has_to_agree(one_clock: bool) -> None:
    lost, later = transaction(0, Status.PREPARE_COMMIT, 8), transaction(30_000, Status.PREPARE_ABORT, 30_008)
    assert judged(2, [*lost, *later], one_clock=one_clock).decision is Decision.UNKNOWN
    later = transaction(30_000, Status.PREPARE_COMMIT, 30_008)
    assert judged(2, [*lost, *later], one_clock=one_clock).decision is Decision.COMMIT


def test_two_that_began_in_one_millisecond_are_not_taken_for_one() -> None:
    both = [*transaction(0, Status.PREPARE_ABORT, 1), *transaction(0, Status.PREPARE_COMMIT, 1)]
    assert judged(0, both, one_clock=True).decision is Decision.UNKNOWN


def test_the_leader_says_which_of_two_producers_is_meant() -> None:
    lost = transaction(0, Status.PREPARE_COMMIT, 8)
    healthy = transaction(5, Status.PREPARE_COMMIT, 12, producer_id=5)
    aborted = transaction(20, Status.PREPARE_ABORT, 22, producer_id=5)
    found = judge_entries(WHERE, 107, 2, 30.0, [*lost, *healthy, *aborted], open_there=OpenTransaction(4, 1, 0, 107))
    assert (found.decision, found.producer_id, found.producer_epoch) == (Decision.COMMIT, 4, 1)
    found = judged(2, [*lost, *healthy])
    assert (found.decision, found.producer_id, found.transactional_id) == (Decision.COMMIT, None, None)


def test_an_epoch_that_the_coordinator_does_not_know_leaves_the_decision_open() -> None:
    lost = transaction(0, Status.PREPARE_COMMIT, 8)
    found = judge_entries(WHERE, 107, 2, 30.0, lost, open_there=OpenTransaction(4, 2, 0, 107))
    assert found.decision is Decision.UNKNOWN
    assert "epoch 2" in found.unknown_because


def test_only_the_transaction_that_was_judged_is_ended() -> None:
    found = judged(2, transaction(0, Status.PREPARE_COMMIT, 8))
    others = [OpenTransaction(4, 2, 0, 107), OpenTransaction(5, 1, 0, 107), OpenTransaction(4, 1, 0, 108)]
    assert find_meant(found, others) is None
    assert find_meant(found, [*others, OpenTransaction(4, 1, 7, 107)]) == OpenTransaction(4, 1, 7, 107)


def test_what_hangs_behind_an_ended_transaction_is_ended_as_well_and_nothing_is_tried_twice() -> None:
    hangs = [Hanging(WHERE, 107), Hanging(WHERE, 120), Hanging(ELSEWHERE, 3)]
    tried: list[Hanging] = []

    def find() -> list[Hanging]:  # the oldest of each partition
        return list({each.where: each for each in reversed(hangs)}.values())

    def end(hanging: Hanging) -> str | None:
        tried.append(hanging)
        if hanging.where == ELSEWHERE:
            return "nobody knows"
        hangs.remove(hanging)
        return None

    ended = list(end_each(find, end))
    assert [(each.hanging.offset, each.left_because) for each in ended if each.hanging.where == WHERE] == [
        (107, None),
        (120, None),
    ]
    assert sorted(each.offset for each in tried) == [3, 107, 120]


def test_nothing_is_claimed_where_two_that_were_decided_differently_may_be_meant() -> None:
    one = entries(Status.ONGOING, Status.PREPARE_COMMIT)
    other = entries(Status.ONGOING, Status.PREPARE_ABORT, transactional_id="bank.account.0.1")
    found = judged(2, one + other)
    assert (found.decision, found.transactional_id) == (Decision.UNKNOWN, None)
    assert "several" in found.unknown_because


@pytest.mark.parametrize(
    ("brokers", "replicas", "expected"), [([1], [1, 1], True), ([1], [1, 3], False), ([1, 2], [1, 1], False)]
)
def test_a_broker_that_is_down_has_a_clock_of_its_own(brokers: list[int], replicas: list[int], expected: bool) -> None:
    assert has_one_clock(brokers, [TopicState(b"", 1, each, {}) for each in replicas]) is expected
