"""SIGTERM at every step of an owner's work: what was begun is ended, nothing stays open, and the next owner is there at once."""

from __future__ import annotations

import pytest

from eventsource.log.steps import Step
from tests.faults.plan import Act, Fault
from tests.faults.rig import Rig, steps_of_a_batch, steps_of_a_take_over

pytestmark = pytest.mark.faults

STEPS = [*steps_of_a_take_over(), *steps_of_a_batch(), Step.CHECKPOINTED]
# On a quiet machine it is below two; this leaves room for a busy one.
LONGEST_SECONDS = 15.0


def test_owners_terminated_at_each_step_leave_no_transaction_open(rig: Rig) -> None:
    steps = list(STEPS)
    rig.rng.shuffle(steps)
    with rig.workload() as workload:
        for step in steps:
            occurrence = 1 if step in (*steps_of_a_take_over(), Step.CHECKPOINTED) else rig.rng.randint(1, 20)
            # Long enough for the process to end meanwhile, if it did not wait for what was begun.
            worker = rig.start(Fault(step, Act.TERM, occurrence, lasting_seconds=0.7))
            assert worker.wait() == 0, worker.log()
            assert [hit.step for hit in worker.acted()] == [step]
            # Nobody else is there who could have ended it.
            assert rig.evidence.open_transactions() == [], f"after SIGTERM at {step}"
        rig.start()
        rig.until_answered(workload)
    rig.check()


def test_the_next_owner_answers_soon_after_a_termination(rig: Rig) -> None:
    steps = rig.rng.sample(STEPS, 3)
    other = rig.start_ready()
    seconds: dict[str, float] = {}
    with rig.workload() as workload:
        rig.until_answered(workload)
        for step in steps:
            leaving = rig.start(Fault(step, Act.TERM))
            hit = rig.until_acted(leaving)
            seconds[step.value] = round(
                rig.until_step(other, Step.REPLIED, after=hit.at, partition=hit.partition).at - hit.at, 2
            )
            assert leaving.wait() == 0, leaving.log()
    print("seconds from SIGTERM to the next owner's first reply:", seconds)
    assert max(seconds.values()) < LONGEST_SECONDS
    rig.check()
