"""A worker is ready once the group gave it what is its own, and a spare once it is clear that this is nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from eventsource.app import App
from eventsource.log.topics import apply
from eventsource.settings import Settings
from eventsource.worker import Worker
from tests.integration.worker.parts_app import Sums, Total
from tests.integration.worker.running import RunningWorker, until

FOUR = App("four", aggregates=[Total], consumers=[Sums], partitions=4)
SINGLE = App("single", aggregates=[Total], partitions=1)


def owned(worker: Worker) -> dict[str, int]:
    """How many partitions each runner has."""
    found = {}
    for name, supervised in worker._supervisor._runners.items():
        runner: Any = supervised._runner
        membership = runner._membership if runner is not None else None
        found[name] = len(membership.owned().partitions) if membership is not None else 0
    return found


@contextmanager
def noting_when_ready(app: App, settings: Settings) -> Iterator[tuple[Worker, list[dict[str, int]]]]:
    """A worker in a thread, and what its runners owned when it said that it is ready."""
    worker, at_ready = Worker(app, settings), list[dict[str, int]]()
    thread = threading.Thread(target=worker.run, args=(lambda: at_ready.append(owned(worker)),))
    thread.start()
    try:
        yield worker, at_ready
    finally:
        worker.stop()
        thread.join(60)


def test_a_second_worker_is_ready_when_it_has_its_partitions(
    start_worker: Callable[..., RunningWorker], settings: Settings
) -> None:
    first = start_worker(FOUR)
    assert first.was_ready.wait(60)
    with noting_when_ready(FOUR, settings) as (second, at_ready):
        until(lambda: at_ready, "the second worker to be ready")
        assert at_ready == [{"commands/total": 2, "projection/sums": 2}]
        until(first.worker.ready, "the first worker to be ready again")
        assert owned(first.worker) == owned(second) == at_ready[0]


def test_a_spare_is_ready_once_no_partition_can_be_on_its_way_to_it(settings: Settings) -> None:
    kafka = settings.kafka.model_copy(update={"transaction_timeout_seconds": 2.0})
    quick = settings.model_copy(update={"kafka": kafka})
    apply(SINGLE, quick)
    with noting_when_ready(SINGLE, quick) as (first, _):
        until(first.ready, "the first worker to be ready")
        with noting_when_ready(SINGLE, quick) as (_, at_ready):
            until(lambda: at_ready, "the spare to be ready")
            assert at_ready == [{"commands/total": 0}]
            assert first.ready()
