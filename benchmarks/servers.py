"""The servers that a benchmark measures on: an embedded Kafka and Postgres of its own, gone when it ends."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.account import bench
from eventsource.app import App
from eventsource.embedded import EmbeddedStack, Progress
from eventsource.log.topics import apply
from eventsource.settings import PREFIX, KafkaSettings, PostgresSettings, Settings
from eventsource.testing.stack import stack_environment


@dataclass(frozen=True, slots=True)
class Servers:
    """Where Kafka and Postgres are."""

    bootstrap_servers: str
    postgres_url: str

    def settings(self, namespace: str) -> Settings:
        """The framework's settings for one namespace, all else as by default."""
        return Settings(
            _env_file=None,
            namespace=namespace,
            kafka=KafkaSettings(bootstrap_servers=self.bootstrap_servers),
            postgres=PostgresSettings(url=self.postgres_url),
        )

    def environment(self, namespace: str, **more: str) -> dict[str, str]:
        """The same as variables of a child process; `more` are settings such as `WORKER__BATCH_SIZE="500"`."""
        return {
            **stack_environment(self.bootstrap_servers, self.postgres_url),
            f"{PREFIX}NAMESPACE": namespace,
            **{f"{PREFIX}{name}": value for name, value in more.items()},
        }

    def make_topics(self, namespace: str, app: App = bench) -> Settings:
        """Makes the topics of an app in a namespace; returns the settings for it."""
        settings = self.settings(namespace)
        apply(app, settings)
        return settings


@contextmanager
def servers() -> Iterator[Servers]:
    """Starts a Kafka and a Postgres in a temporary folder. Raises `EmbeddedStackError`.

    The broker runs like one that serves for days: its JVM compiles in full, which takes the first minutes of load.
    """
    with EmbeddedStack.ephemeral(progress=_tell, short_lived=False) as stack:
        yield Servers(stack.bootstrap_servers, stack.postgres_url)


def _tell(progress: Progress) -> None:
    if progress.done_bytes is None:
        print(progress.step, file=sys.stderr, flush=True)
