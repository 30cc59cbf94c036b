"""The embedded stack with real servers. Each start takes seconds, so a test shows several things."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from eventsource.embedded import EmbeddedStack
from eventsource.embedded.processes import ProcessRecord
from eventsource.embedded.record import StackRecord
from eventsource.errors import EmbeddedStackError

SUPERVISOR = """
import json, os, sys
from pathlib import Path
from eventsource.embedded import EmbeddedStack
where = sys.argv[1]
if where == "ephemeral":
    stack = EmbeddedStack.ephemeral(state_dir=Path(sys.argv[2]))
else:
    stack = EmbeddedStack(Path(where), kafka_port=0, postgres_port=0)
with stack:
    print(json.dumps({"data_dir": str(stack.data_dir), "kafka": stack.bootstrap_servers, "postgres": stack.postgres_url}), flush=True)
    sys.stdin.read()
"""


@contextmanager
def supervisor(*arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, str]]]:
    """A process that runs a stack until its standard input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "the supervisor ended"
        try:
            yield process, json.loads(line)
        finally:
            process.terminate()


def wait_until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def produce(bootstrap_servers: str, topic: str, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": bootstrap_servers, "enable.idempotence": True})
    failures: list[object] = []
    producer.produce(topic, value, on_delivery=lambda error, message: failures.append(error) if error else None)
    assert producer.flush(30) == 0
    assert failures == []


def read_all(bootstrap_servers: str, topic: str, count: int) -> list[bytes]:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "unused",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
        }
    )
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        return [message.value() for message in consumer.consume(count, timeout=20)]
    finally:
        consumer.close()


def create_topic(bootstrap_servers: str, topic: str, replicas: int) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    admin.create_topics([NewTopic(topic, 1, replicas)])[topic].result()


def guard_of(pid: int) -> psutil.Process:
    return next(child for child in psutil.Process(pid).children() if "guard.py" in " ".join(child.cmdline()))


def servers_of(data_dir: Path) -> list[ProcessRecord]:
    record = StackRecord.read(data_dir)
    assert record is not None
    return record.servers


def test_data_and_addresses_outlive_a_kill_and_orphans_are_ended(tmp_path: Path) -> None:
    # A path that Java, Kafka's own format and a shell could each stumble over.
    data_dir = tmp_path / "données du projet"
    with supervisor(str(data_dir)) as (process, addresses):
        with pytest.raises(EmbeddedStackError, match=rf"in use by another embedded stack \(process {process.pid}\)"):
            EmbeddedStack(data_dir).start()

        create_topic(addresses["kafka"], "facts", 1)
        produce(addresses["kafka"], "facts", b"first")
        with psycopg.connect(addresses["postgres"]) as connection:
            connection.execute("CREATE TABLE facts AS SELECT 'first' AS fact")
        orphans = servers_of(data_dir)
        assert [orphan.name for orphan in orphans] == ["Kafka broker 1", "Postgres"]

        # Without its guard, a killed supervisor leaves its servers running.
        guard_of(process.pid).kill()
        process.kill()
        process.wait()
        assert all(orphan.is_alive for orphan in orphans)

    stack = EmbeddedStack(data_dir, kafka_port=0, postgres_port=0)
    with stack:
        assert stack.ended_orphans == orphans
        assert not any(orphan.is_alive for orphan in orphans)
        assert stack.bootstrap_servers == addresses["kafka"]
        assert stack.postgres_url == addresses["postgres"]
        assert addresses["postgres"] not in repr(stack)
        assert read_all(stack.bootstrap_servers, "facts", 1) == [b"first"]
        kafka_port = int(stack.bootstrap_servers.partition(":")[2])
        running = servers_of(data_dir)
    assert not any(server.is_alive for server in running)
    assert servers_of(data_dir) == []

    # The remembered port is taken now; a wish is replaced likewise.
    with socket.create_server(("127.0.0.1", kafka_port)), stack:
        assert stack.bootstrap_servers != addresses["kafka"]
        assert stack.postgres_url == addresses["postgres"]
        produce(stack.bootstrap_servers, "facts", b"second")
        with psycopg.connect(stack.postgres_url) as connection:
            connection.execute("INSERT INTO facts VALUES ('second')")

        stack.restart_postgres(immediate=True)
        with psycopg.connect(stack.postgres_url) as connection:
            assert connection.execute("SELECT fact FROM facts ORDER BY fact").fetchall() == [("first",), ("second",)]

        stack.kill_broker(1)
        with pytest.raises(EmbeddedStackError, match="does not run"):
            stack.pause_broker(1)
        stack.check()
        stack.start_broker(1)
        assert read_all(stack.bootstrap_servers, "facts", 2) == [b"first", b"second"]

        with pytest.raises(EmbeddedStackError, match="runs already"):
            stack.start()
        os.kill(next(server.pid for server in servers_of(data_dir) if server.name == "Postgres"), signal.SIGKILL)
        wait_until(lambda: _dies(stack, "Postgres ended with exit code -9"))

    with pytest.raises(EmbeddedStackError, match="made for 1 broker"):
        EmbeddedStack(data_dir, brokers=3).start()


def _dies(stack: EmbeddedStack, text: str) -> bool:
    try:
        stack.check()
    except EmbeddedStackError as error:
        return text in str(error)
    return False


def test_servers_and_folder_of_a_temporary_stack_go_with_their_supervisor(tmp_path: Path) -> None:
    with supervisor("ephemeral", str(tmp_path)) as (process, addresses):
        data_dir = Path(addresses["data_dir"])
        servers = servers_of(data_dir)
        process.kill()
        process.wait()
        wait_until(lambda: not any(server.is_alive for server in servers))
        wait_until(lambda: not data_dir.exists())
    wait_until(lambda: not list((tmp_path / "ephemeral").glob("*.json")))


def test_three_brokers_carry_on_without_one() -> None:
    with EmbeddedStack.ephemeral(brokers=3, heap_megabytes=256) as stack:
        data_dir = stack.data_dir
        assert len(stack.bootstrap_servers.split(",")) == 3
        create_topic(stack.bootstrap_servers, "facts", 3)
        produce(stack.bootstrap_servers, "facts", b"first")
        stack.kill_broker(2)
        produce(stack.bootstrap_servers, "facts", b"second")
        stack.start_broker(2)
        paused = next(psutil.Process(server.pid) for server in servers_of(data_dir) if server.name == "Kafka broker 3")
        stack.pause_broker(3)
        wait_until(lambda: paused.status() == psutil.STATUS_STOPPED)
        stack.resume_broker(3)
        produce(stack.bootstrap_servers, "facts", b"third")
        assert read_all(stack.bootstrap_servers, "facts", 3) == [b"first", b"second", b"third"]
        with pytest.raises(EmbeddedStackError, match="no broker 4"):
            stack.kill_broker(4)
        servers = servers_of(data_dir)
    assert not any(server.is_alive for server in servers)
    assert not data_dir.exists()


def test_a_server_that_cannot_start_is_reported_with_its_log_and_leaves_nothing(tmp_path: Path) -> None:
    stack = EmbeddedStack(tmp_path / "data", kafka_port=0, postgres_port=0, kafka_config={"num.io.threads": "many"})
    with pytest.raises(EmbeddedStackError, match=r"(?s)Kafka broker 1 ended with exit code 1.*num\.io\.threads"):
        stack.start()
    assert servers_of(tmp_path / "data") == []
    assert not stack.is_running


def test_a_folder_that_cannot_be_made_or_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedStackError, match="choose another"):
        EmbeddedStack(tmp_path / "file" / "data").start()
    with pytest.raises(EmbeddedStackError, match="choose another"):
        EmbeddedStack(tmp_path / "file").start()
    (tmp_path / "data" / "stack.json").mkdir(parents=True)
    with pytest.raises(EmbeddedStackError, match="choose another data folder"):
        EmbeddedStack(tmp_path / "data").start()
