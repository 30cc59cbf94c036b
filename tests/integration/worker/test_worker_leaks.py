"""Runners that start and stop, or fail to start, leave nothing behind: no thread, no socket, no file, no librdkafka handle."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from eventsource.clock import SystemClock
from eventsource.commands.worker import CommandWorker
from eventsource.consuming.definition import ConsumerContext, Runner
from eventsource.errors import EventSourceError
from eventsource.log.topics import apply
from eventsource.schemas import KafkaSchemaStore
from eventsource.settings import PostgresSettings, Settings
from eventsource.worker import Worker
from tests.integration.worker.parts_app import Sums, Total, parts
from tests.integration.worker.running import until
from tests.sweeps import Sweep

NOWHERE = PostgresSettings(url="postgresql://nobody@127.0.0.1:1/none")


def held() -> dict[str, int]:
    """What this process holds: threads, of librdkafka too, and open files by kind."""
    found = {"threads": len([*Path("/proc/self/task").iterdir()])}
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the folder's own is gone already
            kind = str(link.readlink()).partition(":")[0]
            kind = kind if kind in {"socket", "pipe", "anon_inode"} else "file"
            found[kind] = found.get(kind, 0) + 1
    return found


def run_until_ready(runner: Runner) -> None:
    """Starts a runner, waits until it works, and stops it."""
    stop, errors = threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            runner.run(stop)
        except BaseException as error:  # noqa: BLE001 - for the test to look at
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    until(lambda: runner.ready() or errors, "the runner to be ready")
    stop.set()
    thread.join(60)
    assert not thread.is_alive()
    assert not errors


def with_context(settings: Settings, use: Callable[[ConsumerContext], None]) -> None:
    with KafkaSchemaStore(parts.names(settings.namespace).schemas, settings.kafka.client_config()) as schemas:
        use(ConsumerContext(parts, settings, schemas, SystemClock(), fail_fast=True))


def start_commands(settings: Settings) -> None:
    with_context(settings, lambda context: run_until_ready(CommandWorker(Total, context)))


def start_projection(settings: Settings) -> None:
    with_context(settings, lambda context: run_until_ready(Sums.runner(context)))


def start_worker(settings: Settings) -> None:
    worker = Worker(parts, settings, only=["total", "sums"])
    worker.run(on_ready=worker.stop)


def fail_to_start_commands(settings: Settings) -> None:
    """Its topics are in no such namespace."""
    elsewhere = settings.model_copy(update={"namespace": f"{settings.namespace}-x"})

    def use(context: ConsumerContext) -> None:
        with pytest.raises(EventSourceError, match="is missing"):
            CommandWorker(Total, context).run(threading.Event())

    with_context(elsewhere, use)


def fail_to_start_commands_late(settings: Settings) -> None:
    """Its owners fail as they begin."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    def use(context: ConsumerContext) -> None:
        failing = ConsumerContext(parts, settings, context.schemas, SystemClock(), fail, fail_fast=True)
        with pytest.raises(ZeroDivisionError):
            CommandWorker(Total, failing).run(threading.Event())

    with_context(settings, use)


def fail_to_start_projection(settings: Settings) -> None:
    """There is no such database."""
    nowhere = settings.model_copy(update={"postgres": NOWHERE})

    def use(context: ConsumerContext) -> None:
        with pytest.raises(EventSourceError, match="Postgres"):
            Sums.runner(context).run(threading.Event())

    with_context(nowhere, use)


def fail_to_start_worker(settings: Settings) -> None:
    """The checks at its start refuse."""
    elsewhere = settings.model_copy(update={"namespace": f"{settings.namespace}-x"})
    with pytest.raises(EventSourceError):
        Worker(parts, elsewhere).run()
    with pytest.raises(EventSourceError):
        Worker(parts, settings.model_copy(update={"postgres": NOWHERE})).run()


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What nobody closed stays open: the collector, which would close it some time, does not run."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    "cycle",
    [
        start_commands,
        start_projection,
        start_worker,
        fail_to_start_commands,
        fail_to_start_commands_late,
        fail_to_start_projection,
        fail_to_start_worker,
    ],
)
def test_starts_and_stops_leave_nothing_behind(
    cycle: Callable[[Settings], None], settings: Settings, sweep: Sweep
) -> None:
    apply(parts, settings)
    for _ in range(2):
        cycle(settings)
    until(lambda: held() == held(), "threads that are ending to end")
    before = held()
    for _ in range(sweep.times(3, 100)):
        cycle(settings)

    until(
        lambda: all(count <= before.get(kind, 0) for kind, count in held().items()),
        f"what was held before, {before}, to be all that is held",
        15,
    )
