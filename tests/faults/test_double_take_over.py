"""An owner dies in a transaction, its successor writes above that, and is followed by a third: all within the transaction's time-out."""

from __future__ import annotations

import signal
import time

import pytest
from confluent_kafka import Producer

from eventsource.log.steps import Step
from eventsource.settings import Settings
from tests.faults.ledger import PARTITIONS, ledger
from tests.faults.plan import Act, Fault
from tests.faults.rig import Rig, WorkerProcess

pytestmark = pytest.mark.faults

TRANSACTION_SECONDS = 90.0


@pytest.fixture
def fault_settings(fault_settings: Settings) -> Settings:
    kafka = fault_settings.kafka.model_copy(update={"transaction_timeout_seconds": TRANSACTION_SECONDS})
    return fault_settings.model_copy(update={"kafka": kafka})


def take_over_twice(rig: Rig, *without: str) -> None:
    """One worker dies in a transaction, the next one leaves after some answers, and the third goes on, each on its own machine.

    Without guards all that is in one partition: another one's transaction, left open by the dead, would hold everybody up.
    """
    events = ledger.names(rig.settings.namespace).events("account")
    with rig.workload(partition=0 if without else None) as workload:
        dead: list[WorkerProcess] = []
        while True:
            dead.append(rig.start(Fault(Step.FLUSHED, Act.KILL, rig.rng.randint(5, 30)), without=without))
            hit = rig.until_acted(dead[-1])
            dead[-1].wait()
            # A batch of nothing but outcomes leaves the events' last stable offset where it is.
            if not without or (events, hit.partition) in rig.evidence.open_transactions():
                break
        second = rig.start(without=without, own_store=True)
        rig.until_answered(workload, hit.partition, 20)
        if without:
            assert second.end() == 0
        else:
            second.send(signal.SIGKILL)
            second.wait()
        rig.start(without=without, own_store=True)
        rig.until_answered(workload, hit.partition, 20)
        assert time.time() - hit.at < TRANSACTION_SECONDS
        if without:
            for worker in dead:
                end_transactions(rig, worker)


def test_a_second_take_over_sees_what_the_first_wrote_above_a_dead_owners_transaction(rig: Rig) -> None:
    take_over_twice(rig)
    rig.check()


def test_without_fence_and_uncommitted_end_a_second_take_over_forks_aggregates(rig: Rig) -> None:
    take_over_twice(rig, "partition fence", "uncommitted end")
    rig.until(rig.is_at_rest, "all commands to be handled")
    assert any("has a repeat" in violation.text for violation in rig.violations() if violation.invariant == "I1")


def end_transactions(rig: Rig, worker: WorkerProcess) -> None:
    """What their own time-out would do in the end."""
    names = ledger.names(rig.settings.namespace)
    for partition in range(PARTITIONS):
        for turn in (0, 1):
            transactional_id = f"{names.transactional_id('account', partition, turn)}.{worker.pid}"
            Producer({**rig.settings.kafka.client_config(), "transactional.id": transactional_id}).init_transactions()
