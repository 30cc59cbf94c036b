"""An app that strangers write to, a worker of it in a process of its own, and what is measured of that."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from confluent_kafka import Producer
from pydantic import BaseModel, Field

from eventsource.app import App
from eventsource.commands.client import Client
from eventsource.domain import Aggregate, Command, Event, applies, creates, decides
from eventsource.log.partitioner import partition_for
from eventsource.log.topics import apply
from eventsource.settings import Settings
from tests.faults.rig import Rig, WorkerProcess

SILENT_SECONDS: Final = 15.0
ABOVE_BUDGET_MB: Final = 300
PARTITIONS: Final = 2


class Item(BaseModel):
    """A byte on the wire where it has no value."""

    value: int | None = None


class Fill(Command, name="fill"):
    items: list[Item] = Field(default_factory=list)


class Filled(Event, name="filled"):
    count: int


class Box(Aggregate, name="box"):
    count: int = 0

    @creates
    @classmethod
    def begin(cls, command: Fill) -> Filled:
        return Filled(count=len(command.items))

    @creates
    @classmethod
    def on_begun(cls, event: Filled) -> Box:
        return cls(count=event.count)

    @decides
    def fill(self, command: Fill) -> Filled:
        return Filled(count=len(command.items))

    @applies
    def on_filled(self, event: Filled) -> None:
        self.count += event.count


app = App("attacked", aggregates=[Box], partitions=PARTITIONS)


class Attacked:
    """A worker of the app, a client of it, and a producer that is nobody's."""

    def __init__(self, rig: Rig, settings: Settings) -> None:
        self.rig = rig
        self.settings = settings
        apply(app, settings)
        self.names = app.names(settings.namespace)
        self.ids = [
            next(
                f"box-{number}-{n}"
                for n in range(99)
                if partition_for(f"box-{number}-{n}".encode(), PARTITIONS) == number
            )
            for number in range(PARTITIONS)
        ]
        self.worker = self.start()

    def start(self) -> WorkerProcess:
        """A worker that is ready, in time."""
        worker = self.rig.run("run", "tests.faults.attacked:app", "--json", "--health-port", "0")
        self.rig.until(lambda: self._said_ready(worker), f"{worker.name} to be ready", 3 * SILENT_SECONDS)
        return worker

    def _said_ready(self, worker: WorkerProcess) -> bool:
        assert worker.exit_code is None, worker.log()
        return bool(worker.told("ready"))

    def restart(self) -> float:
        """Ends the worker in order and starts another; how many seconds the start took."""
        assert self.worker.end() == 0, self.worker.log()
        began = time.monotonic()
        self.worker = self.start()
        return time.monotonic() - began

    def every_partition_answers(self, client: Client) -> None:
        """Fails where one is silent for too long."""
        for id_ in self.ids:
            began = time.monotonic()
            client.send(Box, id_, Fill(items=[Item()]), timeout=SILENT_SECONDS)
            assert time.monotonic() - began < SILENT_SECONDS

    def stays_within_memory(self) -> None:
        """Fails where the worker ever had more than its budget and 300 MB."""
        most = self.settings.worker.state_memory_mb + ABOVE_BUDGET_MB

        assert peak_mb(self.worker.pid) < most, f"{peak_mb(self.worker.pid)} MB"

    def produce(self, topic: str, records: Sequence[tuple[Any, Any, Any]], **config: Any) -> None:
        """Writes records (key, value, headers), by turns to the partitions. They are sent one by one: each is a batch."""
        count = len(self.settings_topics(topic))
        producer = Producer({**self.settings.kafka.client_config(), "message.max.bytes": 100_000_000, **config})
        failed: list[str] = []
        for number, (key, value, headers) in enumerate(records):
            producer.produce(
                topic,
                value,
                key,
                number % count,
                headers=headers,
                on_delivery=lambda error, _: failed.append(error.str()) if error is not None else None,
            )
            if config:
                producer.flush(30)
            producer.poll(0)
        assert producer.flush(60) == 0
        assert failed == []

    def settings_topics(self, topic: str) -> range:
        """The partitions of a topic of the app."""
        if topic in (self.names.meta, self.names.schemas):
            return range(1)
        return range(8 if topic == self.names.replies else PARTITIONS)


def peak_mb(pid: int) -> int:
    """The most memory that a process ever had, in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) >> 10
    raise AssertionError("no VmHWM")
