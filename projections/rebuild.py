"""Rebuilding: a read model is thrown away and folded again from the whole log.

The rebuild holds the projection's lock for itself, so workers wait; it writes rows and positions together like they do. If it
is killed, its lock ends with its connection, and the workers carry on from the positions that it left.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import psycopg
import stamina

from eventsource.app import App
from eventsource.clock import Clock, SystemClock
from eventsource.consuming.database import Database, PgConnection
from eventsource.consuming.locks import lock_for_session, lock_key, try_lock_for_session, unlock_for_session
from eventsource.errors import BrokerUnavailable, DatabaseUnavailable, ReadModelRebuilding, SettingsError
from eventsource.schemas import KafkaSchemaStore, SchemaStore
from eventsource.settings import Settings
from projections.decoding import BatchDecoder
from projections.definition import ProjectionDefinition
from projections.feed import Feed
from projections.plan import Plan
from projections.status import State, projection_statuses
from projections.store import ProjectionStore, Topic

Progress = Callable[[int, int], None]
"""Called with the offsets done and the offsets to be done in all."""

_BATCH_SIZE: Final = 20_000
_READ_SECONDS: Final = 0.25
_SILENCE_SECONDS: Final = 30.0
_LOCK_SECONDS: Final = 30
_TABLE_LOCK_MS: Final = 50
_EVENTS_LEFT_TO_WORKERS: Final = 1_000


@dataclass(frozen=True, slots=True)
class RebuildReport:
    """What a rebuild did. `records` are those that were read, `events` those of them that the projection folds.

    `changes` are the differences between table and class that it removed: columns, constraints, indexes, defaults.
    """

    projection: str
    records: int
    events: int
    rows: int
    seconds: float
    changes: tuple[str, ...] = ()


def rebuild(
    app: App,
    name: str,
    settings: Settings,
    progress: Progress | None = None,
    *,
    schemas: SchemaStore | None = None,
    clock: Clock | None = None,
) -> RebuildReport:
    """Empties the table of projection `name`, makes it what the class asks for, and folds the whole log into it.

    Workers may run: they wait, and carry on from where the rebuild ends. Readers see the table grow. Raises `SettingsError` if
    the app has no such projection, `ReadModelRebuilding` if it is being rebuilt already, `ProjectionFailed`,
    `DatabaseUnavailable`, `BrokerUnavailable`; what was done until then stays, and a worker or another rebuild goes on from it.
    """
    with contextlib.ExitStack() as stack:
        if schemas is None:
            schemas = KafkaSchemaStore(app.names(settings.namespace).schemas, settings.kafka.client_config())
            stack.callback(schemas.close)
        plan = Plan(find_projection(app, name), app, settings.namespace)
        database = Database(settings.postgres, application_name=f"{plan.group} rebuild")
        stack.callback(database.close)
        feed = Feed(plan, settings.kafka)
        stack.callback(feed.close)
        replay = _Replay(
            plan, ProjectionStore(plan, database), feed, BatchDecoder(plan, schemas), clock or SystemClock()
        )
        return replay.run(progress or _no_progress)


def rebuild_if_changed(app: App, name: str, settings: Settings) -> RebuildReport | None:
    """Rebuilds the projection if its table is not what the class asks for: another revision, shape, topic, index or constraint.

    Returns None where it is, or where nothing was built yet. Raises what `rebuild` raises, `ReadModelRebuilding` among it.
    """
    (status,) = projection_statuses(app, settings, only=name)
    if status.state is State.REBUILDING:  # what its table is to be is not known before that ends
        raise _rebuilding_already(name)
    return rebuild(app, name, settings) if status.changed else None


def find_projection(app: App, name: str) -> ProjectionDefinition[Any]:
    """The projection of that name. Raises `SettingsError` if the app has none."""
    consumer = app.consumers.get(name)
    definition = getattr(consumer, "__definition__", None)
    if not isinstance(definition, ProjectionDefinition):
        known = sorted(name for name, other in app.consumers.items() if other.consumer_kind == "projection")
        remedy = f"choose among {', '.join(known)}" if known else "give it one with consumers=[…]"
        raise SettingsError(f"app {app.name!r} has no projection {name!r}: {remedy}")
    return definition


def _rebuilding_already(name: str) -> ReadModelRebuilding:
    return ReadModelRebuilding(
        f"the read model of projection {name!r} is being rebuilt already: wait until that is done, or end it first"
    )


def _no_progress(_done: int, _total: int) -> None:
    pass


class _TableInUse(DatabaseUnavailable):
    """Raised when a reader holds the table."""


class _Replay:
    """One rebuild, on one connection."""

    def __init__(self, plan: Plan, store: ProjectionStore, feed: Feed, decoder: BatchDecoder, clock: Clock) -> None:
        self._plan = plan
        self._store = store
        self._feed = feed
        self._decoder = decoder
        self._clock = clock
        self._records = 0
        self._events = 0
        self._changes: list[str] = []

    def run(self, progress: Progress) -> RebuildReport:
        began = self._clock.monotonic()
        topics = self._feed.topics()
        with self._alone():
            ends = self._feed.ends()
            self._begin_anew(topics)
            positions = dict.fromkeys(self._plan.partitions, 0)
            self._feed.assign(positions)
            for partition in positions:
                self._decoder.begin(partition, 0)
            self._replay(ends, progress)
            # While that went on, more was written: what little is left then is the workers'.
            while sum((later := self._feed.ends()).values()) - sum(ends.values()) > _EVENTS_LEFT_TO_WORKERS:
                ends = later
                self._replay(ends, progress)
            with self._store.database.errors():
                connection = self._store.database.connection()
                self._store.table.analyze(connection)
                rows = self._store.table.count(connection)
        return RebuildReport(
            projection=self._plan.definition.name,
            records=self._records,
            events=self._events,
            rows=rows,
            seconds=self._clock.monotonic() - began,
            changes=tuple(self._changes),
        )

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Holds the projection's lock: no batch is under way, and none begins."""
        store = self._store
        rebuilding = lock_key(store.schema, "rebuild", store.name)
        with store.database.errors():
            connection = store.database.connection()
            if not try_lock_for_session(connection, rebuilding):
                raise _rebuilding_already(store.name)
            self._wait_for_batches(connection)
        try:
            yield
        finally:
            # On a broken connection the locks are gone already, and nothing is to hide why it broke.
            with contextlib.suppress(psycopg.Error, DatabaseUnavailable):
                unlock_for_session(connection, store.lock)
                unlock_for_session(connection, rebuilding)

    def _wait_for_batches(self, connection: PgConnection) -> None:
        try:
            with connection.transaction():
                connection.execute("SELECT set_config('lock_timeout', %s, true)", [f"{_LOCK_SECONDS}s"])
                lock_for_session(connection, self._store.lock)
        except psycopg.errors.LockNotAvailable as error:
            raise DatabaseUnavailable(
                f"a worker has been writing a batch of projection {self._store.name!r} for more than {_LOCK_SECONDS} s: see what it "
                "waits for, or stop it, and rebuild again"
            ) from error

    def _begin_anew(self, topics: list[Topic]) -> None:
        # Whoever waits for the table's lock makes all later readers wait too: better to ask often, and briefly.
        for attempt in stamina.retry_context(on=_TableInUse, attempts=None, timeout=_LOCK_SECONDS, wait_max=0.5):
            with attempt:
                self._try_to_begin_anew(topics)

    def _try_to_begin_anew(self, topics: list[Topic]) -> None:
        store = self._store
        with store.database.transaction() as connection:
            store.make_schema(connection)
            connection.execute("SELECT set_config('lock_timeout', %s, true)", [f"{_TABLE_LOCK_MS}ms"])
            try:
                # A savepoint: a lock that is not available now must not cost the connection, and with it the session locks.
                with connection.transaction():
                    self._changes = store.empty(connection, topics)
            except psycopg.errors.LockNotAvailable as error:
                raise _TableInUse(
                    f"the table {store.table.name!r} is in use by a session that does not end: see pg_stat_activity for one that is idle "
                    "in a transaction, end it, and rebuild again"
                ) from error

    def _replay(self, ends: Mapping[tuple[str, int], int], progress: Progress) -> None:
        total = sum(ends.values())
        heard_at = self._clock.monotonic()
        while True:
            done = sum(min(self._feed.positions[partition], end) for partition, end in ends.items())
            progress(done, total)
            if done >= total:
                return
            records = self._feed.read(_BATCH_SIZE, _READ_SECONDS)
            moves = self._feed.moves(records) if records else self._feed.moves_past_markers()
            if moves:
                events = self._decoder.decode(records)
                self._store.apply(events, moves)
                self._feed.moved(moves)
                self._records += len(records)
                self._events += len(events)
                heard_at = self._clock.monotonic()
            elif self._clock.monotonic() - heard_at > _SILENCE_SECONDS:
                raise BrokerUnavailable(
                    f"no more of {total - done} records arrived within {_SILENCE_SECONDS:g} s: check the brokers and rebuild again; until "
                    "then, or by a worker, the read model goes on from where this one ended"
                )
