"""SIGSTOP for longer than the session, a take-over, SIGCONT: a zombie writes nothing more, and joins again."""

from __future__ import annotations

import signal

import pytest

from eventsource.log.steps import Step
from tests.faults.plan import Act, Fault, Happened
from tests.faults.rig import Rig, WorkerProcess
from tests.faults.workload import Workload

pytestmark = pytest.mark.faults


def test_owners_that_wake_up_as_zombies_commit_nothing_and_join_again(rig: Rig) -> None:
    steps = [Step.PRODUCED, Step.FLUSHED, Step.OFFSETS_SENT, Step.COMMITTED]
    rig.rng.shuffle(steps)
    other = rig.start_ready()
    with rig.workload() as workload:
        zombie = rig.start(*(Fault(step, Act.STOP, rig.rng.randint(1, 20)) for step in steps))
        for number in range(1, len(steps) + 1):
            wake_after_take_over(rig, workload, rig.until_acted(zombie, number), zombie, other)
        rig.until_step(zombie, Step.REPLIED, after=zombie.acted()[-1].at)
    for hit in zombie.acted():
        assert (next_step(zombie, hit) == Step.APPLIED) is (hit.step == Step.COMMITTED)
    rig.check()


def test_without_fences_a_zombie_writes_again_what_its_successor_wrote(rig: Rig) -> None:
    guards = ("partition fence", "group fence", "loss")
    to_be_stopped = rig.folder / "to-be-stopped"
    # All in one partition: a transaction that the stopped one has open in another would hold the next owner up.
    with rig.workload(partition=0) as workload:
        zombie = rig.start(Fault(Step.BEGUN, Act.STOP, when=str(to_be_stopped)), without=guards)
        rig.until_answered(workload, number=rig.rng.randint(5, 50))
        # With nothing under way, its next batch has new commands: one of repeated commands alone writes nothing.
        workload.pause()
        rig.until(rig.is_at_rest, "all commands to be handled")
        to_be_stopped.touch()
        workload.resume()
        hit = rig.until_acted(zombie)
        wake_after_take_over(rig, workload, hit, zombie, rig.start(without=guards))
        assert next_step(zombie, hit) == Step.PRODUCED
        rig.until_step(zombie, Step.COMMITTED, after=hit.at, partition=hit.partition)
    rig.until(rig.is_at_rest, "all commands to be handled")
    found = [violation.text for violation in rig.violations() if violation.invariant == "I2"]
    assert any("more than once" in text or "2 outcomes" in text for text in found), found


def wake_after_take_over(
    rig: Rig, workload: Workload, hit: Happened, zombie: WorkerProcess, other: WorkerProcess
) -> None:
    rig.until_step(other, Step.REPLAYED, after=hit.at, partition=hit.partition)
    rig.until_answered(workload, hit.partition)
    zombie.send(signal.SIGCONT)
    rig.until(lambda: zombie.steps()[-1] != hit, f"the one stopped at {hit.step} to wake up")
    assert zombie.exit_code is None


def next_step(worker: WorkerProcess, hit: Happened) -> str:
    """What an owner did next in the same partition, besides keeping what it knows."""
    found = worker.steps(partition=hit.partition)
    behind = [happened.step for happened in found[found.index(hit) + 1 :] if happened.step != Step.CHECKPOINTED]
    return behind[0] if behind else ""
