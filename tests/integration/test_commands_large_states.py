"""An owner whose aggregates are large: it takes fewer commands at a time, and answers all of them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Self

from eventsource.app import App
from eventsource.domain import Aggregate, Command, Event, creates
from eventsource.log.admin import LogAdmin
from eventsource.log.steps import Step
from eventsource.log.topics import apply
from eventsource.settings import ClientSettings, KafkaSettings, Settings, WorkerSettings
from tests.integration.command_threads import WorkerThread

COMMANDS = 400
SIZE = 100_000
MEMORY_MB = 16


class Write(Command, name="write"):
    size: int


class Written(Event, name="written"):
    size: int


class Note(Aggregate, name="note"):
    text: str

    @creates
    @classmethod
    def write(cls, command: Write) -> Written:
        return Written(size=command.size)

    @creates
    @classmethod
    def on_written(cls, event: Written) -> Self:
        return cls(text="x" * event.size)


APP = App("notes", aggregates=[Note], partitions=1)


def test_a_batch_ends_where_its_states_take_their_part_of_the_budget(
    eventsource_stack: Any, eventsource_namespace: str, tmp_path: Path
) -> None:
    settings = Settings(
        _env_file=None,
        namespace=eventsource_namespace,
        kafka=KafkaSettings(bootstrap_servers=eventsource_stack.bootstrap_servers),
        client=ClientSettings(timeout_seconds=60),
        worker=WorkerSettings(state_dir=tmp_path / "stores", state_memory_mb=MEMORY_MB),
    )
    apply(APP, settings)
    begun: list[int] = []

    def count(step: Step, partition: int) -> None:
        if step is Step.BEGUN:
            begun.append(partition)

    topic = APP.names(settings.namespace).commands("note")
    admin = LogAdmin(settings.kafka.client_config())
    with APP.connect(settings) as client:
        pending = [client.submit(Note, f"n-{number}", Write(size=SIZE)) for number in range(COMMANDS)]
        deadline = time.monotonic() + 30
        while admin.end_offsets([(topic, 0)])[topic, 0] < COMMANDS:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with WorkerThread(APP, Note, settings, on_step=count):
            assert {each.result().version for each in pending} == {1}
            assert client.load(Note, "n-0").state.text == "x" * SIZE
    # Each may take a quarter of the budget, and ends soon behind that.
    assert len(begun) >= 3 * COMMANDS * SIZE / (MEMORY_MB << 20)
