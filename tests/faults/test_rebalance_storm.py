"""Members that join and leave all the time, under each group protocol: nothing breaks, and what is kept is not read again."""

from __future__ import annotations

import pytest

from eventsource.settings import Settings
from tests.faults.ledger import PARTITIONS
from tests.faults.rig import Rig

pytestmark = pytest.mark.faults

TURN_SECONDS = 1.5
# The consumer protocol takes a heartbeat of 5 s for each of its steps.
TURNS = {"cooperative": 4, "eager": 4, "consumer": 2}
PROTOCOLS = {
    "cooperative": {"partition.assignment.strategy": "cooperative-sticky"},
    "eager": {"partition.assignment.strategy": "range"},
    "consumer": {"group.protocol": "consumer"},
}


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def fault_settings(fault_settings: Settings, protocol: str) -> Settings:
    kafka = fault_settings.kafka.model_copy(update={"client": PROTOCOLS[protocol]})
    return fault_settings.model_copy(update={"kafka": kafka})


def test_a_storm_of_rebalances_breaks_nothing(rig: Rig, protocol: str) -> None:
    stays = rig.start_ready()
    with rig.workload() as workload:
        rig.until_answered(workload)
        comes_and_goes = rig.start(turn_seconds=TURN_SECONDS)
        rig.until(lambda: len(comes_and_goes.told("partitions_assigned")) >= TURNS[protocol], "so many arrivals")
        assert comes_and_goes.end() == 0
        rig.until_answered(workload)
    rig.check()
    assert stays.end() == 0
    # Those that it gave up, but for the last time, when it left itself.
    given_up = {place[1] for line in stays.told("partitions_revoked")[:-1] for place in line["partitions"]}
    kept = set(range(PARTITIONS)) - given_up
    assert (not kept) is (protocol == "eager")
    for partition in kept:
        # A transaction that a new generation overtakes is done again by producers of a new epoch, and nothing is read for it.
        read = [line["events"] for line in stays.told("partition_taken_over") if line["partition"] == partition]
        assert sum(read) == 0, f"partition {partition} was read again: {read}"
