"""One part of a worker fails: it is named, tried again, and the others go on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic
from structlog.testing import capture_logs

from eventsource.commands.client import Client
from eventsource.errors import OutcomeUnknown, ProjectionFailed
from eventsource.log.admin import LogAdmin
from eventsource.log.partitioner import aggregate_key, partition_for
from eventsource.log.steps import Step
from eventsource.log.topics import apply
from eventsource.settings import Settings
from tests.integration.worker.parts_app import (
    BAD_AMOUNT,
    BROKEN,
    Add,
    Fragile,
    FragileSum,
    Job,
    Start,
    Sum,
    Sums,
    Total,
    parts,
)
from tests.integration.worker.running import RunningWorker, until

PARTITION = 0


@pytest.fixture(autouse=True)
def whole() -> Iterator[None]:
    BROKEN.clear()
    yield
    BROKEN.clear()


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    apply(parts, settings)
    with parts.connect(settings) as connected:
        yield connected


def id_in(partition: int, prefix: str = "t") -> str:
    """An id that belongs to this partition."""
    return next(
        found for number in range(1_000) if partition_for(aggregate_key(found := f"{prefix}{number}"), 8) == partition
    )


def test_a_projection_that_raises_leaves_commands_and_other_projections_at_work(
    start_worker: Callable[..., RunningWorker], client: Client
) -> None:
    with capture_logs() as logs:
        running = start_worker(parts)
        assert running.was_ready.wait(60)
        BROKEN.set()
        client.send(Total, "bad", Add(amount=BAD_AMOUNT))
        until(lambda: running.worker.statuses()["projection/fragile"].failure, "the projection to fail")

        assert client.send(Job, "j", Start()).version == 1
        receipt = client.send(Total, "good", Add(amount=5))
        with client.read(Sums, at_least=receipt.token) as session:
            row = session.get(Sum, "good")
            assert row is not None
            assert row.amount == 5
        assert running.get("/live") == (200, {"status": "alive"})
        status, page = running.get("/ready")
        assert status == 503
        assert page["failed"] == ["projection/fragile"]
        assert page["runners"]["projection/fragile"]["state"] == "failed"
        assert page["runners"]["projection/fragile"]["failure"] == "ProjectionFailed"
        assert {name for name, each in page["runners"].items() if each["ready"]} == {
            "commands/total",
            "commands/job",
            "commands/task",
            "projection/sums",
        }

        BROKEN.clear()
        until(lambda: running.get("/ready")[0] == 200, "the projection to recover without a restart")
        with client.read(Fragile, at_least=receipt.token) as session:
            found = {each: session.get(FragileSum, each) for each in ("bad", "good")}
            assert {key: row.amount for key, row in found.items() if row is not None} == {"bad": BAD_AMOUNT, "good": 5}
        assert running.get("/ready")[1]["failed"] == []
    failures = [line for line in logs if line["event"] == "runner_failed"]
    assert [line["runner"] for line in failures] == ["projection/fragile"]
    assert "Fragile.on_added failed on event 'added' of 'bad'" in failures[0]["error"]
    assert [line["runner"] for line in logs if line["event"] == "runner_recovered"] == ["projection/fragile"]


def test_failing_fast_the_worker_ends_with_the_error(
    start_worker: Callable[..., RunningWorker], client: Client
) -> None:
    running = start_worker(parts, fail_fast=True)
    assert running.was_ready.wait(60)
    BROKEN.set()
    client.send(Total, "bad", Add(amount=BAD_AMOUNT))
    until(lambda: running.error, "the worker to end")
    assert isinstance(running.error, ProjectionFailed)


class StepFailure:
    """Makes the owners of one partition fail when they take it over or read a command, as long as it is set."""

    def __init__(self) -> None:
        self.set = threading.Event()
        self.failures = 0

    def __call__(self, step: Step, partition: int) -> None:
        if step in (Step.FENCED, Step.READ) and partition == PARTITION and self.set.is_set():
            self.failures += 1
            raise ZeroDivisionError("the partition has a defect")


def test_a_partition_that_fails_is_stopped_alone_and_taken_over_again(
    start_worker: Callable[..., RunningWorker], client: Client
) -> None:
    failure = StepFailure()
    failure.set.set()
    with capture_logs() as logs:
        running = start_worker(parts, only=["total"], on_step=failure)
        until(
            lambda: running.worker.statuses()["commands/total"].failed_partitions == (PARTITION,),
            "the partition to be shown as failed",
        )
        assert client.send(Total, id_in(1), Add(amount=1)).version == 1
        until(lambda: failure.failures > 1, "the partition to be tried again")
        status, page = running.get("/ready")
        assert status == 503
        assert page["failed"] == ["commands/total[0]"]
        assert page["runners"]["commands/total"]["failed_partitions"] == [PARTITION]
        assert running.get("/live")[0] == 200

        failure.set.clear()
        assert client.send(Total, id_in(PARTITION), Add(amount=1)).version == 1
        until(lambda: running.get("/ready")[0] == 200, "the partition to recover")
        until(lambda: not running.worker.statuses()["commands/total"].failed_partitions, "it to be shown no more")
    assert [line["partition"] for line in logs if line["event"] == "partition_failed"] == [PARTITION]
    assert [line["partition"] for line in logs if line["event"] == "partition_recovered"] == [PARTITION]


def create_again(settings: Settings, topic: str) -> None:
    """Deletes a topic and creates an empty one of its name."""
    client: Any = AdminClient(settings.kafka.client_config())
    admin = LogAdmin(settings.kafka.client_config())
    count = admin.partition_counts([topic])[topic]
    client.delete_topics([topic])[topic].result(10)

    def created() -> bool:
        try:
            client.create_topics([NewTopic(topic, count, 1, config={"retention.ms": "-1"})])[topic].result(10)
        except KafkaException:
            return False
        return True

    until(created, "the topic to be created again")
    admin.wait_until_described({topic})
    admin.end_offsets([(topic, number) for number in range(count)])
    admin.close()


def test_no_command_is_decided_on_a_topic_that_was_created_again_while_the_worker_ran(
    start_worker: Callable[..., RunningWorker], client: Client, settings: Settings
) -> None:
    failure, total = StepFailure(), id_in(PARTITION)
    running = start_worker(parts, only=["total", "job"], on_step=failure)
    client.send(Total, total, Add(amount=1))
    failure.set.set()
    pending = client.submit(Total, total, Add(amount=1), timeout=8)
    until(lambda: running.worker.statuses()["commands/total"].failed_partitions, "the partition to fail")
    topic = parts.names(settings.namespace).events("total")
    create_again(settings, topic)
    # The take-over that follows finds no history, and every offset as it may be.
    failure.set.clear()
    until(lambda: running.worker.statuses()["commands/total"].failure, "the aggregate to be shown as failed")
    assert running.worker.statuses()["commands/total"].failure in {"TopicMismatch", "OffsetLost"}
    with pytest.raises(OutcomeUnknown):
        pending.result()
    assert client.send(Job, "j", Start()).version == 1
    admin = LogAdmin(settings.kafka.client_config())
    assert set(admin.end_offsets([(topic, number) for number in range(8)]).values()) == {0}, "nothing was decided"
    admin.close()
    assert running.worker.statuses()["commands/total"].restarts == 1, "a damaged log is not tried again"
