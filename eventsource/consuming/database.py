"""A consumer's connection to Postgres: it belongs to one thread, is made when needed and replaced after an error."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final

import psycopg
from psycopg import Connection, pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from eventsource.errors import DatabaseRefused, DatabaseUnavailable, EventSourceError
from eventsource.redaction import redact_url
from eventsource.settings import PostgresSettings

PgConnection = Connection[tuple[Any, ...]]

# SQLSTATE classes of what passes: connection, resources, operator intervention, system; and states of conflicts between
# transactions, of a server that became read-only, and of time-outs. https://www.postgresql.org/docs/current/errcodes-appendix.html
_PASSING_CLASSES: Final = ("08", "53", "57", "58", "40")
_PASSING_STATES: Final = frozenset({"55P03", "25006", "25P03", "25P04"})
_STATEMENT_TIMEOUT: Final = "57014"
# What a value can be refused for besides DataError and IntegrityError: a class for exceeded limits (an index entry that is too
# large), and the states of a value whose type does not fit its column.
_VALUE_CLASSES: Final = ("54",)
_VALUE_STATES: Final = frozenset({"42804", "42846", "42P18"})
_KEEPALIVE: Final = {"keepalives_idle": "15", "keepalives_interval": "5", "keepalives_count": "3"}


class Database:
    """One connection, and transactions on it. Belongs to one thread.

    Raises `DatabaseUnavailable` where trying again can help, `DatabaseRefused` where it cannot; errors about the values of a
    statement (`is_about_values`) come through as they are. After any other error the connection is closed, and the next use
    makes another: libpq may report a connection as good that is stuck in the middle of a pipeline. Session locks go with it.
    """

    def __init__(self, settings: PostgresSettings, *, application_name: str) -> None:
        self._settings = settings
        self._application_name = application_name
        self._connection: PgConnection | None = None

    def connection(self) -> PgConnection:
        """The connection, in autocommit mode: what is not in a transaction is its own. Raises `DatabaseUnavailable`."""
        connection = self._connection
        if connection is None or not is_usable(connection):
            self.close()
            connection = self._connection = connect(self._settings, self._application_name)
        return connection

    @contextlib.contextmanager
    def transaction(self) -> Iterator[PgConnection]:
        """A transaction, committed unless the block raises. It cannot be nested: `connection.transaction()` is a savepoint.

        An error at the end leaves open whether it was committed: read the position again, and go on from what it says.
        """
        with self.errors():
            connection = self.connection()
            try:
                with connection.transaction():
                    yield connection
            finally:
                # Whatever the block raised, psycopg only logs a rollback that failed.
                if not is_usable(connection):
                    self.close()

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Turns psycopg's errors into those of this package, and closes the connection unless they are about values."""
        try:
            yield
        except psycopg.Error as error:
            translated = translate(error, self._settings)
            if translated is None:
                raise
            self.close()
            raise translated from error

    def close(self) -> None:
        """Closes the connection, which ends its session locks too."""
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):  # it may be broken, which is why it is closed
                self._connection.close()
            self._connection = None


def is_usable(connection: PgConnection) -> bool:
    """Whether a connection can begin a transaction: it is open, in no pipeline, and no statement or transaction is left in it."""
    return (
        not connection.closed
        and connection.pgconn.pipeline_status == pq.PipelineStatus.OFF
        and connection.info.transaction_status == pq.TransactionStatus.IDLE
    )


def is_about_values(error: Exception) -> bool:
    """Whether an error is about the values of one statement: the server, the schema and the connection are as they should be."""
    if not isinstance(error, psycopg.Error):
        return not isinstance(
            error, EventSourceError
        )  # raised by what converts values: psycopg's dumpers, SQLAlchemy's types
    state = error.sqlstate
    if isinstance(error, psycopg.DataError | psycopg.IntegrityError):
        return True
    if state is None:  # raised by psycopg itself, about what it was given
        return isinstance(error, psycopg.ProgrammingError | psycopg.NotSupportedError)
    return state[:2] in _VALUE_CLASSES or state in _VALUE_STATES


def connect(settings: PostgresSettings, application_name: str) -> PgConnection:
    """A new connection in autocommit mode: UTC, READ COMMITTED, with time-outs. Raises `DatabaseUnavailable`."""
    given = set(conninfo_to_dict(settings.url))
    timeout_ms = str(int(settings.statement_timeout_seconds * 1_000))
    try:
        connection = psycopg.connect(
            make_conninfo(settings.url, **{name: value for name, value in _KEEPALIVE.items() if name not in given}),
            autocommit=True,
            # Plans are cheap beside a batch; a plan made while the table was empty is not. And poolers know no prepared statements.
            prepare_threshold=None,
            connect_timeout=max(2, round(settings.connect_timeout_seconds)),
        )
    except psycopg.OperationalError as error:
        # Without psycopg's frames: they hold the password, for whatever shows the locals of a traceback.
        raise _no_connection(error, settings) from error.with_traceback(None)
    connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    try:
        connection.execute(
            # A worker that is stopped in the middle of a transaction must not hold its locks for ever.
            "SELECT set_config('statement_timeout', %s, false), set_config('idle_in_transaction_session_timeout', %s, false), "
            "set_config('TimeZone', 'UTC', false), set_config('application_name', %s, false)",
            [timeout_ms, timeout_ms, application_name[:63]],
        )
    except psycopg.Error as error:
        connection.close()
        raise _no_connection(error, settings) from error
    return connection


def translate(error: psycopg.Error, settings: PostgresSettings) -> EventSourceError | None:
    """One of psycopg's errors as one of this package's, None for those about a statement's values (`is_about_values`)."""
    if is_about_values(error):
        return None
    state = error.sqlstate
    if state == _STATEMENT_TIMEOUT:
        return DatabaseUnavailable(
            f"Postgres at {_where(settings)} took longer than {settings.statement_timeout_seconds:g} s for a statement: look for locks "
            "and load there, or raise EVENTSOURCE_POSTGRES__STATEMENT_TIMEOUT_SECONDS"
        )
    if state is None:
        return DatabaseUnavailable(
            f"the connection to Postgres at {_where(settings)} broke: {_text(error)}: check that it runs; this is tried again"
        )
    if state[:2] in _PASSING_CLASSES or state in _PASSING_STATES:
        return DatabaseUnavailable(
            f"Postgres at {_where(settings)} could not go on: {_text(error)}: look at its log; this is tried again"
        )
    remedy = "grant it to the user of EVENTSOURCE_POSTGRES__URL" if state == "42501" else "see what changed there"
    return DatabaseRefused(f"Postgres at {_where(settings)} refused a statement: {_text(error)}: {remedy}")


def _no_connection(error: psycopg.Error, settings: PostgresSettings) -> DatabaseUnavailable:
    text = _text(error)
    lowered = text.lower()
    if "does not exist" in lowered and "database" in lowered:
        reason, remedy = "the database is missing", "create it, or name another in EVENTSOURCE_POSTGRES__URL"
    elif "password" in lowered or "authentication" in lowered or "role" in lowered or "pg_hba" in lowered:
        reason, remedy = (
            "it refused the user",
            "check user, password and pg_hba.conf; EVENTSOURCE_POSTGRES__URL names them",
        )
    elif "timeout" in lowered or "timed out" in lowered:
        reason, remedy = "it did not answer in time", "check address and firewall (EVENTSOURCE_POSTGRES__URL)"
    elif "resolve" in lowered or "translate host" in lowered or "name or service" in lowered:
        reason, remedy = "its host name is unknown", "check EVENTSOURCE_POSTGRES__URL"
    elif "too many" in lowered or "remaining connection slots" in lowered:
        reason, remedy = "it takes no more connections", "raise its max_connections, or run fewer workers"
    else:
        reason, remedy = (
            "no connection",
            "check that it runs (`eventsource dev` starts one here) and EVENTSOURCE_POSTGRES__URL",
        )
    return DatabaseUnavailable(f"Postgres at {_where(settings)}: {reason} ({text}): {remedy}")


def _where(settings: PostgresSettings) -> str:
    return redact_url(settings.url).partition("://")[2] or settings.url


def _text(error: psycopg.Error) -> str:
    return " ".join(str(error).split()) or type(error).__name__
