from __future__ import annotations

from itertools import pairwise

import pytest

from eventsource.commands.owner_state import TRANSITIONS, OwnerState, check_transition
from eventsource.errors import LogError


def test_every_state_has_its_row_in_the_table() -> None:
    assert set(TRANSITIONS) == set(OwnerState)


def test_handling_is_reached_only_by_fencing_locating_and_replaying_in_this_order() -> None:
    order = [OwnerState.ASSIGNED, OwnerState.FENCING, OwnerState.LOCATING, OwnerState.REPLAYING, OwnerState.HANDLING]
    for before, after in pairwise(order):
        assert check_transition(before, after) is after
        assert [state for state in OwnerState if after in TRANSITIONS[state] and state is not OwnerState.RETURNING] == [
            before
        ]


def test_after_a_failed_transaction_there_is_no_way_back_but_through_the_fence() -> None:
    assert TRANSITIONS[OwnerState.RETURNING] == {
        OwnerState.FENCING,
        OwnerState.REVOKING,
        OwnerState.LOST,
        OwnerState.FAILED,
    }


def test_a_partition_is_closed_only_after_it_was_revoked_or_lost() -> None:
    closing = [state for state in OwnerState if OwnerState.CLOSED in TRANSITIONS[state]]
    assert closing == [OwnerState.REVOKING, OwnerState.LOST]
    for state in closing:
        assert TRANSITIONS[state] == {OwnerState.CLOSED, OwnerState.FAILED}


def test_a_closed_or_failed_owner_stays_so() -> None:
    for state in (OwnerState.CLOSED, OwnerState.FAILED):
        with pytest.raises(LogError, match=f"from {state} to fencing"):
            check_transition(state, OwnerState.FENCING)
