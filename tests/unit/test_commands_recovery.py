"""A store is checked against the log, and the partition is given up meanwhile."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from eventsource.commands.recovery import Bounds, PartitionRecovery
from eventsource.errors import BrokerUnavailable
from eventsource.testing import VirtualClock

EVENTS, OUTCOMES = ("events", 0), ("outcomes", 0)


class SilentReader:
    """No record ever comes."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock

    def assign(self, _offsets: object) -> None:
        pass

    def position(self, _topic: str, _partition: int) -> int:
        return 5

    def read(self, _records: int, timeout_seconds: float) -> list[Any]:
        self._clock.advance(timedelta(seconds=timeout_seconds))
        return []


def recovery_of_a_store(clock: VirtualClock, stopped_after_seconds: float) -> PartitionRecovery:
    position = SimpleNamespace(newest_event=(5, "id"), newest_outcome=(-1, ""), events=6, outcomes=0)
    memory = SimpleNamespace(position=position, attach=lambda _store, _codec: None)
    began = clock.monotonic()
    recovery = PartitionRecovery(
        cast(Any, memory),
        lambda: cast(Any, None),
        EVENTS,
        OUTCOMES,
        store=cast(Any, SimpleNamespace(claim=lambda: None, open=lambda _folder: None, codec=None)),
        patience_seconds=20.0,
        clock=clock,
        stopped=lambda: clock.monotonic() - began > stopped_after_seconds,
        checkpointed=lambda: None,
    )
    recovery.open_store()
    return recovery


BOUNDS = Bounds({EVENTS: 0, OUTCOMES: 0}, {EVENTS: 6, OUTCOMES: 0})


def test_a_partition_that_is_given_up_while_its_store_is_checked_is_no_trouble_with_a_broker() -> None:
    clock = VirtualClock()
    with capture_logs() as logs:
        assert not recovery_of_a_store(clock, 2.7).read(cast(Any, SilentReader(clock)), BOUNDS)
    assert logs == []


def test_a_broker_that_does_not_answer_in_time_is_reported_with_that_time() -> None:
    clock = VirtualClock()
    began = clock.monotonic()
    with pytest.raises(BrokerUnavailable, match=r"events\[0\]@5 could not be read in 20 s"):
        recovery_of_a_store(clock, 3600.0).read(cast(Any, SilentReader(clock)), BOUNDS)
    assert 20.0 < clock.monotonic() - began < 20.5
