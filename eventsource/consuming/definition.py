"""What a projection, saga or reactor is to an app: something with a name that can be run, live or in memory."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from eventsource.clock import Clock
from eventsource.log.recorded import Recorded
from eventsource.log.steps import StepListener, ignore_step
from eventsource.log.token import Token
from eventsource.schemas import SchemaStore
from eventsource.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from eventsource.app import App


@dataclass(frozen=True, slots=True)
class ConsumerContext:
    """What a consumer is given to run with."""

    app: App
    settings: Settings
    schemas: SchemaStore
    clock: Clock
    on_step: StepListener = ignore_step
    """What listens to the steps of partition owners."""
    fail_fast: bool = False
    """Whether an error of one partition ends the whole runner."""


class Runner(Protocol):
    """A consumer at work, in a thread of its own."""

    def run(self, stop: threading.Event) -> None:
        """Works until `stop` is set, then finishes what it has begun. Raises what it cannot mend itself."""

    def ready(self) -> bool:
        """Whether it has its partitions and reads them."""


@runtime_checkable
class MayHang(Protocol):
    """A runner whose code of others may never come back."""

    def alive(self) -> bool:
        """Whether it may still come back; where not, only a new process helps."""


@runtime_checkable
class FailsByPartition(Protocol):
    """A runner that goes on with its other partitions when one of them fails."""

    def failures(self) -> Mapping[int, str]:
        """The partitions that are not worked on, each with the class of its error. May be called from any thread."""


@runtime_checkable
class GroupMember(Protocol):
    """A runner whose partitions are given to it by a consumer group."""

    def unassigned_seconds(self) -> float:
        """How long the group has given it no assignment that holds; 0 while there is one. May be called from any thread."""


class MemoryConsumer(Protocol):
    """A consumer inside `TestApp`."""

    def handle(self, events: Sequence[Recorded]) -> None:
        """Takes events in the order of the log."""

    def rows(self) -> Sequence[Any]:
        """What it holds: the rows of a read model."""


class ConsumerDefinition(Protocol):
    """The class of a projection, saga or reactor, as `App(consumers=[…])` takes it."""

    @property
    def consumer_name(self) -> str:
        """Unique within the app."""

    @property
    def consumer_kind(self) -> str:
        """`projection`, `saga` or `reactor`."""

    def check(self, app: App) -> None:
        """Raises `DefinitionError` if it handles what no aggregate of the app records."""

    def runner(self, context: ConsumerContext) -> Runner:
        """The consumer on real servers."""

    def in_memory(self, app: App) -> MemoryConsumer:
        """The consumer in one process, in memory."""


@runtime_checkable
class Rebuildable(Protocol):
    """A consumer whose result in the database can be thrown away and made again from the log."""

    def rebuild_if_changed(self, app: App, settings: Settings) -> str | None:
        """Rebuilds what is not as this class would make it; workers must not run. Returns what was done, None if nothing was.

        What was never built is left to the worker.
        """


class ModelReader(Protocol):
    """A read model as a client sees it. Safe to share between threads; holds connections until it is closed."""

    def wait_for(self, token: Token, timeout_seconds: float) -> None:
        """Blocks until the read model shows what the token stands for.

        Raises `NotCaughtUp` when it does not in time, `InvalidArgument` when it is not built from the token's topic,
        `ReadModelOutdated` when it was built by another revision, `DatabaseUnavailable`.
        """

    def session(self) -> AbstractContextManager[Session]:
        """A read-only session, in whose queries the read model's table needs no schema name."""

    def close(self) -> None:
        """Closes the connections."""


class Readable(Protocol):
    """The class of a read model's projection, as `client.read` and `client.wait_for` take it."""

    def reader(self, app: App, settings: Settings) -> ModelReader:
        """What waits for the read model and reads it. The caller closes it."""
