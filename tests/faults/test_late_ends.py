"""An EndTxn whose answer did not come is sent again, and its first copy arrives in the middle of the next transaction.

The broker takes it for the end of that one (librdkafka has no KIP-890 part 2): its commit returns OK, and its events are gone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from eventsource.errors import HandlerFailed
from eventsource.log.steps import Step
from tests.faults.kafka_proxy import Api, KafkaProxy, Trap
from tests.faults.ledger import Account, Deposit, Open, Save
from tests.faults.plan import Act, Fault
from tests.faults.rig import Rig

pytestmark = pytest.mark.faults

# The steps of a transaction at which the late copy may arrive: before its first, second, … request of this kind.
MOMENTS = [
    (Api.ADD_PARTITIONS_TO_TXN, 1),
    (Api.PRODUCE, 1),
    (Api.PRODUCE, 2),
    (Api.ADD_OFFSETS_TO_TXN, 1),
    (Api.TXN_OFFSET_COMMIT, 1),
    (Api.END_TXN, 1),
]
SHUT_OUT = {KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_ID_MAPPING}


@pytest.fixture
def proxy(rig: Rig) -> Iterator[KafkaProxy]:
    with KafkaProxy(rig.settings.kafka.bootstrap_servers) as running:
        yield running


def start_behind(rig: Rig, proxy: KafkaProxy, *without: str, aborts: int = 0) -> Callable[[], None]:
    """A worker behind the proxy; each of its records travels in a request of its own. Returns what makes it abort once."""
    signals = [rig.folder / f"abort-{number}" for number in range(aborts)]
    kafka = rig.settings.kafka.model_copy(
        update={"bootstrap_servers": proxy.bootstrap_servers, "client": {"batch.num.messages": "1"}}
    )
    # Once offsets are in a transaction its abort is a request: one of repeated commands alone has nothing else in it.
    faults = [Fault(Step.OFFSETS_SENT, Act.RAISE, when=str(path)) for path in signals]
    worker = rig.start(*faults, settings=rig.settings.model_copy(update={"kafka": kafka}), without=without)
    rig.until(worker.is_ready, "the worker behind the proxy")
    left: Iterator[Path] = iter(signals)
    return lambda: next(left).touch()


def test_a_late_end_of_a_transaction_ends_no_other(rig: Rig, proxy: KafkaProxy) -> None:
    abort = start_behind(rig, proxy, aborts=len(MOMENTS))
    cases = list(product((True, False), MOMENTS))
    rig.rng.shuffle(cases)
    with rig.workload() as workload:
        rig.until_answered(workload)
        for commits, (api, number) in cases:
            trap = proxy.set(Trap(commits, api, number))
            if not commits:
                abort()
            rig.until(trap.is_released, f"{trap} to be sprung")
            assert trap.answer in SHUT_OUT, trap
    rig.check()


def test_without_new_producers_a_late_abort_takes_acknowledged_events_away(rig: Rig, proxy: KafkaProxy) -> None:
    abort = start_behind(rig, proxy, "renewal", aborts=1)
    with rig.connect() as client:
        client.send(Account, "saver", Open(owner="client"))
        trap = proxy.set(Trap(False, Api.ADD_OFFSETS_TO_TXN))
        abort()
        rig.until(
            lambda: client.send(Account, "saver", Deposit(amount=1)) and trap.is_released(), f"{trap} to be sprung"
        )
        client.send(Account, "saver", Deposit(amount=1))
    assert trap.answer == KafkaError.NO_ERROR
    rig.until(rig.is_at_rest, "all commands to be handled")
    found = rig.violations()
    assert {violation.invariant for violation in found} == {"I1", "I2", "I3", "I4"}
    assert any("OK and its events are nowhere" in violation.text for violation in found)


def test_without_suspicion_a_late_commit_tears_a_command(rig: Rig, proxy: KafkaProxy) -> None:
    start_behind(rig, proxy, "suspicion")
    with rig.connect() as client:
        client.send(Account, "saver", Open(owner="client"))
        client.send(Account, "saver", Deposit(amount=100))
        trap = proxy.set(Trap(True, Api.PRODUCE, 2, is_done=lambda: not rig.evidence.open_transactions()))

        def save() -> bool:
            with contextlib.suppress(HandlerFailed):  # half a command stops its account
                client.send(Account, "saver", Save(amount=1))
            return trap.is_released()

        rig.until(save, f"{trap} to be sprung")
    assert trap.answer == KafkaError.NO_ERROR
    rig.until(rig.is_at_rest, "all commands to be handled")
    found = rig.violations()
    assert any("has events [1] of 2" in violation.text for violation in found if violation.invariant == "I3")
