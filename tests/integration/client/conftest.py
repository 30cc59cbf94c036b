"""Settings, workers and a client for the accounts of these tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from eventsource.commands.client import Client
from eventsource.log.topics import apply
from eventsource.settings import ClientSettings, KafkaSettings, PostgresSettings, Settings
from tests.integration.client.accounts import APP, Worker


@pytest.fixture
def settings(eventsource_stack: Any, eventsource_namespace: str) -> Settings:
    return Settings(
        _env_file=None,
        namespace=eventsource_namespace,
        kafka=KafkaSettings(bootstrap_servers=eventsource_stack.bootstrap_servers),
        postgres=PostgresSettings(url=eventsource_stack.postgres_url),
        client=ClientSettings(timeout_seconds=30),
    )


@pytest.fixture
def start_worker(settings: Settings) -> Iterator[Callable[[], Worker]]:
    started: list[Worker] = []

    def start() -> Worker:
        started.append(Worker(settings))
        return started[-1].start()

    apply(APP, settings)
    yield start
    for worker in started:
        worker.stop()


@pytest.fixture
def worker(start_worker: Callable[[], Worker]) -> Worker:
    return start_worker()


@pytest.fixture
def client(settings: Settings, worker: Worker) -> Iterator[Client]:
    with APP.connect(settings) as connected:
        yield connected
