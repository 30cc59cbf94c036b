"""The servers that an import uses: those that the settings name, else an embedded Kafka and Postgres for its duration."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from eventsource.app import App
from eventsource.consuming.database import connect
from eventsource.embedded import EmbeddedStack, ProgressCallback
from eventsource.errors import SettingsError
from eventsource.log.topics import apply
from eventsource.settings import Settings, load_settings
from eventsource.testing.stack import BOOTSTRAP_VARIABLE, POSTGRES_VARIABLE, stack_environment

_ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Servers:
    """Where Kafka and Postgres are. `environment` is that of a process that is to use them and this project's modules."""

    settings: Settings
    environment: Mapping[str, str]


@contextmanager
def servers(progress: ProgressCallback) -> Iterator[Servers]:
    """The servers that are configured, else an embedded stack that ends with the block.

    Raises `SettingsError` when only one of the two is named, `EmbeddedStackError` when they cannot be started.
    """
    settings = load_settings()
    kafka = "bootstrap_servers" in settings.kafka.model_fields_set
    postgres = "url" in settings.postgres.model_fields_set
    if kafka and postgres:
        yield Servers(settings, _environment({}))
        return
    if kafka or postgres:
        named, missing = (BOOTSTRAP_VARIABLE, POSTGRES_VARIABLE) if kafka else (POSTGRES_VARIABLE, BOOTSTRAP_VARIABLE)
        raise SettingsError(
            f"{named} is set and {missing} is not: set both, or neither to have servers started for the import"
        )
    with EmbeddedStack.ephemeral(progress=progress) as stack:
        kafka_settings = settings.kafka.model_copy(update={"bootstrap_servers": stack.bootstrap_servers})
        postgres_settings = settings.postgres.model_copy(update={"url": stack.postgres_url})
        worker_settings = settings.worker.model_copy(update={"state_dir": stack.stores_dir})
        update = {"kafka": kafka_settings, "postgres": postgres_settings, "worker": worker_settings}
        environment = stack_environment(stack.bootstrap_servers, stack.postgres_url, stack.stores_dir)
        yield Servers(settings.model_copy(update=update), _environment(environment))


def prepare(app: App, settings: Settings) -> None:
    """Makes the app's topics where they are missing, and sees that Postgres can be used.

    Raises `BrokerUnavailable`, `TopicMismatch`, `DatabaseUnavailable`.
    """
    apply(app, settings)
    connect(settings.postgres, f"{app.name} import").close()


def _environment(additions: Mapping[str, str]) -> dict[str, str]:
    path = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, **additions, "PYTHONPATH": os.pathsep.join(path)}
