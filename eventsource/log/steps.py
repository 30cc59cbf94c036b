"""The steps of an owner's work that somebody may listen to: metrics, and fault tests that end a process at one of them."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class Step(StrEnum):
    """What an owner has just done. Named after the past: the step is over, and the next one has not begun."""

    ASSIGNED = "assigned"  # the group gave the partition to its thread
    FENCED = "fenced"  # both transactional ids are ours
    LOCATED = "located"  # the committed offset and the ends of events and outcomes are known
    REPLAYED = "replayed"  # memory is what the log holds
    READ = "read"  # a batch of commands was read
    BEGUN = "begun"  # its transaction was begun
    PRODUCED = "produced"  # its records were handed to the producer
    FLUSHED = "flushed"  # the broker has acknowledged all of them
    OFFSETS_SENT = "offsets_sent"  # the transaction holds the group's next offset; the commit follows
    COMMITTED = "committed"  # the broker has committed; memory does not know yet
    APPLIED = "applied"  # memory is what was committed
    REPLIED = "replied"  # the replies were handed to their producer
    CHECKPOINTED = "checkpointed"  # the state store holds what memory holds


StepListener = Callable[[Step, int], None]
"""Called in the owner's thread with the step and the partition. Must return at once; what it raises ends the owner."""


def ignore_step(_step: Step, _partition: int) -> None:
    """Listens to nothing."""
