"""Reading a read model, and waiting until it shows what a token stands for."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from eventsource.consuming.database import connect, is_about_values, translate
from eventsource.consuming.positions import Positions
from eventsource.errors import DatabaseUnavailable, InvalidArgument, NotCaughtUp, ReadModelOutdated, ReadModelReadOnly
from eventsource.log.admin import LogAdmin
from eventsource.log.token import Token
from eventsource.settings import Settings
from projections.feed import find_topics
from projections.plan import Plan
from projections.read_session import ReadSession
from projections.registry import Registry
from projections.store import Topic, outdated_by
from projections.table import ModelTable

_FIRST_POLL_SECONDS: Final = 0.002
_LONGEST_POLL_SECONDS: Final = 0.05
_LOOK_AGAIN_SECONDS: Final = 1.0
_KEPT_CONNECTIONS: Final = 5
"""How many connections stay open while nobody reads; those beyond are closed when they come back."""


class ProjectionReader:
    """A read model as a client sees it. Safe to share between threads; pools its connections until it is closed."""

    def __init__(self, plan: Plan, settings: Settings) -> None:
        self._plan = plan
        self._settings = settings
        self._name = plan.definition.name
        self._revision = plan.definition.revision
        self._schema = plan.names.database_schema
        self._table = ModelTable(plan.definition.model, self._schema)
        self._positions = Positions(self._schema)
        self._registry = Registry(self._schema)
        self._engine = self._make_engine()
        self._topics: dict[bytes, Topic] = {}
        self._lock = threading.Lock()
        self._admin: LogAdmin | None = None
        self._looked_at = float("-inf")

    def wait_for(self, token: Token, timeout_seconds: float) -> None:
        """Blocks until the read model shows what the token stands for.

        Raises `NotCaughtUp` when it does not in time, `InvalidArgument` when it is not built from the token's topic,
        `ReadModelOutdated` when it was built by another revision, `DatabaseUnavailable`.
        """
        deadline = time.monotonic() + timeout_seconds
        poll_seconds = _FIRST_POLL_SECONDS
        topic = self._topic_of(token)
        while True:
            position = self._position(token)
            if position is not None and position > token.offset:
                return
            left = deadline - time.monotonic()
            if left <= 0:
                raise self._not_caught_up(token, topic, position, timeout_seconds)
            time.sleep(min(poll_seconds, left))
            poll_seconds = min(poll_seconds * 1.5, _LONGEST_POLL_SECONDS)

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """A read-only session, in whose queries, SQL text included, the app's tables need no schema name.

        Whatever would write raises `ReadModelReadOnly`, and so does a row that was changed, at the latest when the session ends.

        It holds one connection of the pool until it ends. Raises `ReadModelOutdated` when the table was built by another
        revision, or not yet; `DatabaseUnavailable`, also when no connection of the pool becomes free in time.
        """
        with self._errors(), self._connected() as connection:
            # Every time: a worker of another revision may have rebuilt the table since the last session.
            self._check(connection.connection.driver_connection)
            with ReadSession(connection, self._name) as session:
                yield session
                session.check_unchanged()

    def close(self) -> None:
        """Closes the connections."""
        self._engine.dispose()
        with self._lock:
            if self._admin is not None:
                self._admin.close()
            self._admin = None

    # --- positions -----------------------------------------------------------------------------------------------

    def _topic_of(self, token: Token) -> Topic:
        topic = self._topics.get(token.topic_id)
        if topic is None:
            self._find_topics()
            topic = self._topics.get(token.topic_id)
        if topic is None or token.partition >= topic.partitions:
            raise InvalidArgument(
                f"the token is of a topic that projection {self._name!r} does not read ({', '.join(self._plan.aggregates)}): wait for a "
                "projection of that aggregate; a token of a topic that was deleted is void"
            )
        return topic

    def _find_topics(self) -> None:
        # One client for all unknown tokens, which anybody may send, and one question a second at most.
        with self._lock:
            now = time.monotonic()
            if now - self._looked_at < _LOOK_AGAIN_SECONDS:
                return
            if self._admin is None:
                kafka = self._settings.kafka
                self._admin = LogAdmin(kafka.client_config(), request_timeout_seconds=kafka.request_timeout_seconds)
            self._topics = {topic.id: topic for topic in find_topics(self._plan, self._admin)}
            self._looked_at = now

    def _position(self, token: Token) -> int | None:
        with self._errors(), self._connected() as pooled:
            connection: Any = pooled.connection.driver_connection
            try:
                position = self._positions.read_one(
                    connection, self._name, self._revision, token.topic_id, token.partition
                )
                if position is None:
                    registered = self._registry.find(connection, self._name)
                    if registered is None:
                        return None  # no worker has begun it yet, only others of the app
                    reason = outdated_by(registered, self._plan.definition, self._table)
                    if reason is not None:
                        raise self._outdated(reason)
            except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
                return None  # no worker has begun any projection of the app yet
        return position

    def _not_caught_up(self, token: Token, topic: Topic, position: int | None, waited_seconds: float) -> NotCaughtUp:
        if position is None:
            state = "nothing has been projected yet"
        else:
            state = f"its position there is {position}, {token.offset + 1 - position} behind"
        return NotCaughtUp(
            f"projection {self._name!r} did not reach offset {token.offset} of {topic.name}, partition {token.partition}, within "
            f"{waited_seconds:g} s: {state}; wait longer or read what is there, and check that a worker runs it "
            f"(`eventsource projections list`)"
        )

    # --- sessions ------------------------------------------------------------------------------------------------

    def _make_engine(self) -> Engine:
        settings = self._settings.postgres
        engine = create_engine(
            URL.create("postgresql+psycopg"),
            creator=lambda: connect(settings, f"{self._plan.group} reader"),
            pool_pre_ping=True,
            pool_size=min(_KEPT_CONNECTIONS, settings.reader_connections),
            max_overflow=max(0, settings.reader_connections - _KEPT_CONNECTIONS),
            pool_timeout=settings.connect_timeout_seconds,
        )

        @event.listens_for(engine, "connect")
        def _set_search_path(connection: Any, _: Any) -> None:
            connection.execute("SELECT set_config('search_path', quote_ident(%s), false)", [self._schema])
            connection.autocommit = False

        # The map serves queries of the models themselves even behind a pooler that forgets the path.
        return engine.execution_options(schema_translate_map={None: self._schema}, postgresql_readonly=True)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Connection]:
        try:
            connection = self._engine.connect()
        except PoolTimeoutError as error:
            settings = self._settings.postgres
            raise DatabaseUnavailable(
                f"all {settings.reader_connections} connections of the reader of projection {self._name!r} were in use for "
                f"{settings.connect_timeout_seconds:g} s: end each session as soon as its rows are read, or raise "
                "EVENTSOURCE_POSTGRES__READER_CONNECTIONS"
            ) from error
        with connection:
            try:
                yield connection
            except (psycopg.Error, DBAPIError) as error:
                cause = error.orig if isinstance(error, DBAPIError) else error
                if not isinstance(cause, Exception) or not is_about_values(cause):
                    connection.invalidate()  # the pool closes it: it may look good and be stuck in a pipeline
                raise

    def _check(self, connection: Any) -> None:
        try:
            registered = self._registry.find(connection, self._name)
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            registered = None
        if registered is None:
            raise ReadModelOutdated(
                f"the read model of projection {self._name!r} is not there yet: start a worker that builds it (`eventsource run`)"
            )
        reason = outdated_by(registered, self._plan.definition, self._table)
        if reason is not None:
            raise self._outdated(reason)

    def _outdated(self, reason: str) -> ReadModelOutdated:
        return ReadModelOutdated(
            f"the read model of projection {self._name!r} in schema {self._schema!r} is not what this program reads: {reason}; build it "
            f"anew with `eventsource projections rebuild {self._name}`"
        )

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except psycopg.errors.ReadOnlySqlTransaction as error:
            raise self._is_read_only(error) from error
        except psycopg.Error as error:
            translated = translate(error, self._settings.postgres)
            if translated is None:
                raise
            raise translated from error
        except DBAPIError as error:
            # a caller's own query, through SQLAlchemy: only what is no fault of the query becomes ours
            cause = error.orig
            if isinstance(cause, psycopg.errors.ReadOnlySqlTransaction):
                raise self._is_read_only(cause) from error
            unavailable = translate(cause, self._settings.postgres) if isinstance(cause, psycopg.Error) else None
            if not isinstance(unavailable, DatabaseUnavailable):
                raise
            raise unavailable from error

    def _is_read_only(self, error: psycopg.Error) -> ReadModelReadOnly:
        return ReadModelReadOnly(self._name, f"a statement writes ({' '.join(str(error).split())})")
