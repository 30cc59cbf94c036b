from __future__ import annotations

from eventsource.consuming.positions import Position
from projections.status import sum_reached
from projections.store import Topic

ACCOUNTS = Topic("bank.account.events", b"accounts", 2)
ENDS = {(ACCOUNTS.name, 0): 10, (ACCOUNTS.name, 1): 10}


def in_accounts(partition: int, offset: int) -> Position:
    return Position(ACCOUNTS.name, ACCOUNTS.id, partition, offset)


def test_positions_of_the_topics_that_are_read_are_summed() -> None:
    assert sum_reached([in_accounts(0, 4), in_accounts(1, 10)], [ACCOUNTS], ENDS) == 14


def test_a_position_in_a_topic_that_is_read_no_longer_hides_no_lag() -> None:
    former = Position("bank.branch.events", b"branches", 0, 6)
    assert sum_reached([in_accounts(0, 4), in_accounts(1, 10), former], [ACCOUNTS], ENDS) == 14


def test_a_position_in_a_topic_that_was_made_anew_hides_no_lag() -> None:
    former = Position(ACCOUNTS.name, b"the one before", 0, 10)
    assert sum_reached([former, in_accounts(1, 10)], [ACCOUNTS], ENDS) == 10


def test_a_partition_beyond_its_end_hides_no_lag_of_another() -> None:
    assert sum_reached([in_accounts(0, 20), in_accounts(1, 0)], [ACCOUNTS], ENDS) == 10
