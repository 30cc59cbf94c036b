"""A command worker in a thread of the test, and what stands in topics: what the tests of the command side share."""

from __future__ import annotations

import threading
from typing import Any, Self

from eventsource.app import App
from eventsource.clock import Clock, SystemClock
from eventsource.commands.worker import CommandWorker
from eventsource.consuming.definition import ConsumerContext
from eventsource.domain import Aggregate
from eventsource.log.admin import LogAdmin
from eventsource.log.reader import LogReader
from eventsource.log.record import Record
from eventsource.log.steps import StepListener, ignore_step
from eventsource.schemas import KafkaSchemaStore
from eventsource.settings import Settings


class WorkerThread:
    """Handles one aggregate's commands from `start` to `stop`. As a context it also sees that the worker did not fail."""

    def __init__(
        self,
        app: App,
        aggregate: type[Aggregate[Any]],
        settings: Settings,
        on_step: StepListener = ignore_step,
        clock: Clock | None = None,
    ) -> None:
        self._schemas = KafkaSchemaStore(app.names(settings.namespace).schemas, settings.kafka.client_config())
        self.worker = CommandWorker(
            aggregate, ConsumerContext(app, settings, self._schemas, clock or SystemClock(), on_step, fail_fast=True)
        )
        self.failure: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> Self:
        self._thread.start()
        return self

    def _run(self) -> None:
        try:
            self.worker.run(self._stop)
        except BaseException as error:  # noqa: BLE001
            self.failure = error

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        self._schemas.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
        assert self.failure is None


def read_topic(settings: Settings, topic: str, partitions: int) -> list[Record]:
    """All committed records of a topic, partition by partition."""
    admin = LogAdmin(settings.kafka.client_config())
    ends = admin.end_offsets([(topic, number) for number in range(partitions)])
    records: list[Record] = []
    with LogReader(settings.kafka.client_config()) as reader:
        for where, end in ends.items():
            if end == 0:
                continue
            reader.assign({where: 0})
            while reader.position(*where) < end:
                records += reader.read(1_000, 0.1)
    return records
