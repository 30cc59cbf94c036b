"""Settings and workers for the tests of whole workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from eventsource.app import App
from eventsource.log.topics import apply
from eventsource.settings import ClientSettings, KafkaSettings, PostgresSettings, Settings, WorkerSettings
from eventsource.testing.stack import SessionStack
from tests.integration.worker.running import RunningWorker


@pytest.fixture
def settings(eventsource_stack: SessionStack, eventsource_namespace: str) -> Settings:
    return Settings(
        _env_file=None,
        namespace=eventsource_namespace,
        kafka=KafkaSettings(bootstrap_servers=eventsource_stack.bootstrap_servers),
        postgres=PostgresSettings(url=eventsource_stack.postgres_url),
        client=ClientSettings(timeout_seconds=30),
        worker=WorkerSettings(health_port=0),
    )


@pytest.fixture
def start_worker(settings: Settings) -> Iterator[Callable[..., RunningWorker]]:
    with ExitStack() as started:

        def start(app: App, **options: Any) -> RunningWorker:
            apply(app, settings)
            running = RunningWorker(app, settings, **options)
            started.callback(running.stop)
            return running.start()

        yield start
