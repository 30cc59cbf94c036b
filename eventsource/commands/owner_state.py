"""The states of a partition owner and the transitions between them: the one place that says what may follow what."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from eventsource.errors import LogError


class OwnerState(StrEnum):
    """Where an owner stands."""

    ASSIGNED = "assigned"  # the group gave it the partition
    FENCING = "fencing"  # it shuts out whoever wrote before, under both transactional ids
    LOCATING = "locating"  # it asks for the stable committed offset and the ends of events and outcomes
    REPLAYING = "replaying"  # it reads up to those ends
    HANDLING = "handling"  # it handles commands
    RETURNING = "returning"  # a transaction failed or was doubtful: back to the last committed state
    REVOKING = "revoking"  # told to give the partition up: it has ended its transaction, and leaves its store in order
    LOST = "lost"  # the group gave the partition away without asking: nothing that was begun is committed
    CLOSED = "closed"  # the partition is somebody else's now
    FAILED = "failed"  # something that only a person can mend


_WHENEVER: Final = frozenset({OwnerState.REVOKING, OwnerState.LOST, OwnerState.FAILED})
_GIVEN_UP: Final = frozenset({OwnerState.CLOSED, OwnerState.FAILED})

TRANSITIONS: Final[Mapping[OwnerState, frozenset[OwnerState]]] = {
    OwnerState.ASSIGNED: _WHENEVER | {OwnerState.FENCING},
    OwnerState.FENCING: _WHENEVER | {OwnerState.LOCATING, OwnerState.RETURNING},
    OwnerState.LOCATING: _WHENEVER | {OwnerState.REPLAYING, OwnerState.RETURNING},
    OwnerState.REPLAYING: _WHENEVER | {OwnerState.HANDLING, OwnerState.RETURNING},
    OwnerState.HANDLING: _WHENEVER | {OwnerState.RETURNING},
    OwnerState.RETURNING: _WHENEVER | {OwnerState.FENCING},
    OwnerState.REVOKING: _GIVEN_UP,
    OwnerState.LOST: _GIVEN_UP,
    OwnerState.CLOSED: frozenset(),
    OwnerState.FAILED: frozenset(),
}


def check_transition(before: OwnerState, after: OwnerState) -> OwnerState:
    """Returns `after`; raises `LogError` if it may not follow `before`."""
    if after not in TRANSITIONS[before]:
        raise LogError(f"a partition owner cannot go from {before} to {after}: report this")
    return after
