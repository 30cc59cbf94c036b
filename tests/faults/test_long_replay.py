"""A replay that takes three times as long as a member may stay away from its group: nobody is evicted, and it ends."""

from __future__ import annotations

import signal

import pytest

from eventsource.log.steps import Step
from eventsource.settings import Settings
from tests.faults import ledger
from tests.faults.ledger import Account, Dawdle, Deposit, Open
from tests.faults.rig import Rig

pytestmark = pytest.mark.faults

POLL_SECONDS = 2.0
EVENT_SECONDS = 0.1
EVENTS = int(3 * POLL_SECONDS / EVENT_SECONDS)


@pytest.fixture
def fault_settings(fault_settings: Settings) -> Settings:
    milliseconds = str(int(POLL_SECONDS * 1_000))
    client = {"max.poll.interval.ms": milliseconds, "session.timeout.ms": milliseconds}
    kafka = fault_settings.kafka.model_copy(update={"client": client})
    return fault_settings.model_copy(update={"kafka": kafka})


def test_a_replay_longer_than_the_poll_interval_evicts_nobody_and_ends(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = rig.start_ready()
    with rig.connect() as client:
        client.send(Account, "slow", Open(owner="client"))
        pendings = [client.submit(Account, "slow", Dawdle(seconds=EVENT_SECONDS)) for _ in range(EVENTS)]
        partition = [pending.result() for pending in pendings][-1].token.partition
        first.send(signal.SIGKILL)
        first.wait()
        second = rig.start(own_store=True)
        assert client.send(Account, "slow", Deposit(amount=1)).version == EVENTS + 2
    located, replayed = (second.steps(step, partition=partition) for step in (Step.LOCATED, Step.REPLAYED))
    assert (len(located), len(replayed)) == (1, 1)
    assert replayed[0].at - located[0].at > 3 * POLL_SECONDS
    assert second.told("partitions_lost") == second.told("partitions_revoked") == []
    assert len(second.told("partitions_assigned")) == 1
    monkeypatch.setattr(ledger, "sleep", lambda _seconds: None)
    rig.check()
