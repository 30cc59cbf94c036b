"""SIGKILL at every step of an owner's work: another worker takes over, and nothing is lost, doubled or torn."""

from __future__ import annotations

import signal

import pytest

from eventsource.log.steps import Step
from tests.faults.plan import Act, Fault
from tests.faults.rig import Rig, WorkerProcess, steps_of_a_batch, steps_of_a_take_over

pytestmark = pytest.mark.faults


def kill_at_each(rig: Rig, steps: list[Step], occurrences: int) -> None:
    """Workers that are killed one after the other, beside one that stays. Each is started as soon as the one before is dead."""
    rig.rng.shuffle(steps)
    rig.start_ready()
    with rig.workload() as workload:
        rig.until_answered(workload)
        victims = (rig.start(Fault(step, Act.KILL, rig.rng.randint(1, occurrences))) for step in steps)
        victim: WorkerProcess | None = next(victims)
        for step in steps:
            assert victim is not None
            hit = rig.until_acted(victim)
            assert (hit.step, victim.wait()) == (step, -signal.SIGKILL)
            victim = next(victims, None)
            rig.until_answered(workload, hit.partition)
    rig.check()


def test_workers_killed_at_each_step_of_a_take_over_lose_and_double_nothing(rig: Rig) -> None:
    kill_at_each(rig, steps_of_a_take_over(), 1)


def test_workers_killed_at_each_step_of_a_batch_lose_and_double_nothing(rig: Rig) -> None:
    kill_at_each(rig, steps_of_a_batch(), 30)


def test_workers_killed_when_their_store_is_written_lose_and_double_nothing(rig: Rig) -> None:
    kill_at_each(rig, [Step.CHECKPOINTED], 1)
