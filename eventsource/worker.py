"""A worker process: the command workers and consumers of an app that it was told to run, under one supervisor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from eventsource.app import App
from eventsource.clock import Clock, SystemClock
from eventsource.commands.memory_budget import MemoryBudget
from eventsource.commands.partition_failures import PartitionFailures
from eventsource.commands.state_folder import check_state_dir, state_dir_of
from eventsource.commands.take_overs import TakeOvers
from eventsource.commands.turns import Turns
from eventsource.commands.worker import CommandWorker
from eventsource.consuming.database import connect
from eventsource.consuming.definition import ConsumerContext, Runner
from eventsource.doctor import check_accepted, check_start
from eventsource.errors import SettingsError
from eventsource.log.identity import TopicIdentities
from eventsource.log.steps import StepListener, ignore_step
from eventsource.schemas import KafkaSchemaStore
from eventsource.settings import Settings
from eventsource.supervised import RunnerFactory, RunnerStatus
from eventsource.supervisor import Supervisor

COMMANDS: Final = "commands"
_KIND_PLURALS: Final = {"projection": "projections", "saga": "sagas", "reactor": "reactors"}
_KINDS_IN_POSTGRES: Final = frozenset({"projection", "saga"})


class Worker:
    """Runs an app's commands and consumers until it is stopped.

    `only` chooses: `commands`, `projections`, `sagas`, `reactors`, or names of aggregates and consumers; nothing chosen means
    all. `accepted_risks` are the doctor's rules whose breach does not keep it from starting. A part that fails is tried again while
    the others go on; with `fail_fast` it ends the worker. `on_step` listens to the steps of its partition owners. Raises
    `SettingsError` when a choice fits nothing or there is no such rule, `DefinitionError` when a consumer does not fit the app.
    """

    def __init__(
        self,
        app: App,
        settings: Settings,
        *,
        only: Iterable[str] = (),
        clock: Clock | None = None,
        accepted_risks: Iterable[str] = (),
        fail_fast: bool = False,
        on_step: StepListener = ignore_step,
    ) -> None:
        self._app = app
        self._settings = settings
        self._accepted = check_accepted(accepted_risks)
        chosen = choose(app, only)
        self._commands_of = [name for kind, name in chosen if kind == COMMANDS]
        consumers = [app.consumers[name] for kind, name in chosen if kind != COMMANDS]
        self._needs_database = any(consumer.consumer_kind in _KINDS_IN_POSTGRES for consumer in consumers)
        clock = clock if clock is not None else SystemClock()
        self._schemas = KafkaSchemaStore(app.names(settings.namespace).schemas, settings.kafka.client_config())
        self._supervisor = Supervisor(
            _factories(app, ConsumerContext(app, settings, self._schemas, clock, on_step, fail_fast), chosen),
            drain_seconds=settings.worker.drain_seconds,
            fail_fast=fail_fast,
            clock=clock,
        )

    def run(self, on_ready: Callable[[], None] | None = None) -> None:
        """Checks the log and the database, then works; returns after an orderly drain. `on_ready` is called when all is ready.

        Raises `SettingsError` (the state folder cannot be written), `TopicMissing`, `TopicMismatch`, `ClusterMismatch`, `OffsetLost`,
        `BrokerUnavailable` or `DatabaseUnavailable` before anything is begun, and later `DrainTimeout`, or with `fail_fast` the first
        error that does not pass, once everything else is drained. May be called once.
        """
        settings = self._settings
        with self._schemas:
            check_state_dir(
                state_dir_of(settings.worker),
                self._app.names(settings.namespace).prefix,
                self._commands_of,
            )
            check_start(self._app, self._settings, commands_of=self._commands_of, accepted=self._accepted)
            if self._needs_database:
                # A consumer would try again for ever; at the start a wrong address is better reported at once.
                connect(self._settings.postgres, "eventsource worker").close()
            self._supervisor.run(on_ready)

    def stop(self) -> None:
        """Begins an orderly drain; may be called from any thread and from a signal handler."""
        self._supervisor.stop()

    def ready(self) -> bool:
        """Whether every runner has its partitions and reads them."""
        return self._supervisor.ready()

    def alive(self) -> bool:
        """Whether the supervising loop turns, and nothing hangs for good."""
        return self._supervisor.alive()

    def statuses(self) -> dict[str, RunnerStatus]:
        """What each runner is doing, by names such as `commands/account` and `projection/balances`."""
        return self._supervisor.statuses()


def choose(app: App, only: Iterable[str]) -> list[tuple[str, str]]:
    """What of an app is to be run, as pairs of kind and name. Raises `SettingsError` naming a choice that fits nothing."""
    everything = [(COMMANDS, name) for name in app.aggregates]
    everything += [(consumer.consumer_kind, name) for name, consumer in app.consumers.items()]
    wanted = list(only)
    for word in wanted:
        if not any(_fits(word, kind, name) for kind, name in everything):
            raise SettingsError(
                f"--only {word}: app {app.name!r} has no such thing: choose among {', '.join(_choices(everything))}"
            )
    return [item for item in everything if not wanted or any(_fits(word, *item) for word in wanted)]


def _fits(word: str, kind: str, name: str) -> bool:
    return word in (name, _KIND_PLURALS.get(kind, kind), f"{kind}/{name}")


def _choices(everything: Iterable[tuple[str, str]]) -> list[str]:
    found = dict.fromkeys(_KIND_PLURALS.get(kind, kind) for kind, _ in everything)
    return [*found, *dict.fromkeys(name for _, name in everything)]


def _factories(app: App, context: ConsumerContext, chosen: Iterable[tuple[str, str]]) -> Mapping[str, RunnerFactory]:

    budget = MemoryBudget(context.settings.worker.state_memory_mb << 20)
    turns = Turns(context.clock.monotonic)
    identities = TopicIdentities()
    take_overs = TakeOvers(context.clock.monotonic)
    # These outlive a runner that is started again: a partition whose log is damaged stays stopped.
    failures = {name: PartitionFailures(name) for kind, name in chosen if kind == COMMANDS}

    def commands_of(name: str) -> Callable[[], Runner]:
        return lambda: CommandWorker(
            app.aggregates[name], context, budget, turns, identities, take_overs, failures[name]
        )

    def consumer(name: str) -> Callable[[], Runner]:
        return lambda: app.consumers[name].runner(context)

    return {f"{kind}/{name}": commands_of(name) if kind == COMMANDS else consumer(name) for kind, name in chosen}
