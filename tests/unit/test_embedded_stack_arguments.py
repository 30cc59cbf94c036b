"""What an embedded stack refuses before it starts anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventsource.embedded import EmbeddedStack
from eventsource.embedded.broker import JavaRuntime
from eventsource.errors import EmbeddedStackError


@pytest.mark.parametrize("brokers", [0, 2, 4])
def test_only_one_or_three_brokers_are_run(brokers: int) -> None:
    with pytest.raises(EmbeddedStackError, match="1 or 3 brokers"):
        EmbeddedStack(Path("data"), brokers=brokers)


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_must_be_one(port: int) -> None:
    with pytest.raises(EmbeddedStackError, match="not a TCP port"):
        EmbeddedStack(Path("data"), kafka_port=port)
    with pytest.raises(EmbeddedStackError, match="not a TCP port"):
        EmbeddedStack(Path("data"), postgres_port=port)


def test_a_folder_that_kafka_would_read_as_two_is_refused() -> None:
    with pytest.raises(EmbeddedStackError, match="comma"):
        EmbeddedStack(Path("a,b"))


def test_a_stopped_stack_has_no_addresses() -> None:
    stack = EmbeddedStack(Path("data"))
    for read in (lambda: stack.bootstrap_servers, lambda: stack.postgres_url, stack.check):
        with pytest.raises(EmbeddedStackError, match="start it first"):
            read()


def test_a_temporary_stack_has_no_folder_before_it_starts() -> None:
    with pytest.raises(EmbeddedStackError, match="start it first"):
        EmbeddedStack.ephemeral().data_dir  # noqa: B018 (reading it is the test)


def test_stopping_a_stopped_stack_does_nothing() -> None:
    EmbeddedStack(Path("data")).stop()


@pytest.mark.parametrize(("short_lived", "expected"), [(True, True), (False, False)])
def test_only_brokers_that_live_for_minutes_leave_their_code_half_compiled(short_lived: bool, expected: bool) -> None:
    runtime = JavaRuntime(Path("java"), "jars", heap_megabytes=320, short_lived=short_lived)
    command = runtime.command("kafka.Kafka", "server.properties", temporary=Path("tmp"))
    assert ("-XX:TieredStopAtLevel=1" in command) == expected
