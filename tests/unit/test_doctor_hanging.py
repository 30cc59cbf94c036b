"""Which transaction hangs, and what was decided about it, from what its coordinator wrote down."""

from __future__ import annotations

import pytest

from eventsource.doctor.facts import Decision, Hanging
from eventsource.doctor.hanging import judge_entries
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


def judged(first_record_ms: int, found: list[TransactionEntry]) -> Hanging:
    return judge_entries(WHERE, 107, first_record_ms, 30.0, found)


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
        *entries(*committed, at_ms=MINUTE_MS),
        *entries(*committed, where=ELSEWHERE, transactional_id="bank.account.1.0"),
    ]
    assert judged(2, others).decision is Decision.UNKNOWN
    assert "no entry of that time" in judged(2, others).unknown_because
    aborted = entries(Status.ONGOING, Status.PREPARE_ABORT)
    assert judged(2, [*others, *aborted]).decision is Decision.ABORT


def test_neighbours_within_the_clocks_margin_do_not_count_where_one_fits() -> None:
    before = entries(Status.ONGOING, Status.PREPARE_COMMIT, at_ms=-20, transactional_id="bank.account.0.1")
    after = entries(Status.ONGOING, Status.PREPARE_ABORT, at_ms=20, transactional_id="bank.account.0.1")
    found = judged(2, [*before, *entries(Status.ONGOING, Status.PREPARE_COMMIT), *after])
    assert (found.decision, found.transactional_id) == (Decision.COMMIT, "bank.account.0.0")


def test_nothing_is_claimed_where_two_that_were_decided_differently_may_be_meant() -> None:
    one = entries(Status.ONGOING, Status.PREPARE_COMMIT)
    other = entries(Status.ONGOING, Status.PREPARE_ABORT, transactional_id="bank.account.0.1")
    found = judged(2, one + other)
    assert (found.decision, found.transactional_id) == (Decision.UNKNOWN, None)
    assert "several" in found.unknown_because
