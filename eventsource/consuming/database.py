"""A consumer's connection to Postgres: one thread's, made when needed, made anew after it broke."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final

import psycopg
from psycopg import Connection
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
_KEEPALIVE: Final = {"keepalives_idle": "15", "keepalives_interval": "5", "keepalives_count": "3"}


class Database:
    """One connection, and transactions on it. Belongs to one thread.

    Raises `DatabaseUnavailable` where trying again can help, `DatabaseRefused` where it cannot; what has to do with the
    data of a statement (`psycopg.DataError`, `psycopg.IntegrityError`) comes through as it is.
    """

    def __init__(self, settings: PostgresSettings, *, application_name: str) -> None:
        self._settings = settings
        self._application_name = application_name
        self._connection: PgConnection | None = None

    def connection(self) -> PgConnection:
        """The connection, in autocommit mode: what is not in a transaction is its own. Raises `DatabaseUnavailable`."""
        connection = self._connection
        if connection is None or connection.closed or connection.broken:
            self.close()
            connection = self._connection = connect(self._settings, self._application_name)
        return connection

    @contextlib.contextmanager
    def transaction(self) -> Iterator[PgConnection]:
        """A transaction, committed unless the block raises.

        An error at the end leaves open whether it was committed: read the position again, and go on from what it says.
        """
        with self.errors():
            connection = self.connection()
            with connection.transaction():
                yield connection

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Turns psycopg's errors into ours."""
        try:
            yield
        except psycopg.Error as error:
            translated = translate(error, self._settings)
            if translated is None:
                raise
            raise translated from error

    def close(self) -> None:
        """Closes the connection, which ends its session locks too."""
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):  # it may be broken, which is why it is closed
                self._connection.close()
            self._connection = None


def connect(settings: PostgresSettings, application_name: str) -> PgConnection:
    """A new connection in autocommit mode: UTC, READ COMMITTED, with time-outs. Raises `DatabaseUnavailable`."""
    given = conninfo_to_dict(settings.url)
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
        raise _no_connection(error, settings) from error
    connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    try:
        connection.execute(
            # A worker that is stopped in the middle of a transaction must not hold its locks for ever.
            "SELECT set_config('statement_timeout', %s, false), set_config('idle_in_transaction_session_timeout', %s, false), "
            "set_config('TimeZone', 'UTC', false), set_config('application_name', %s, false)",
            [timeout_ms, timeout_ms, application_name[:63]],
        )
    except psycopg.OperationalError as error:
        connection.close()
        raise _no_connection(error, settings) from error
    return connection


def translate(error: psycopg.Error, settings: PostgresSettings) -> EventSourceError | None:
    """One of psycopg's errors as ours, None for those about a statement's data."""
    state = error.sqlstate
    if state == _STATEMENT_TIMEOUT:
        return DatabaseUnavailable(
            f"Postgres at {_where(settings)} took longer than {settings.statement_timeout_seconds:g} s for a statement: look for locks "
            "and load there, or raise EVENTSOURCE_POSTGRES__STATEMENT_TIMEOUT_SECONDS"
        )
    if state is not None and (state[:2] in _PASSING_CLASSES or state in _PASSING_STATES):
        return DatabaseUnavailable(
            f"Postgres at {_where(settings)} could not go on: {_text(error)}: look at its log; this is tried again"
        )
    if state is None and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return DatabaseUnavailable(
            f"the connection to Postgres at {_where(settings)} broke: {_text(error)}: check that it runs; this is tried again"
        )
    if isinstance(error, psycopg.DataError | psycopg.IntegrityError):
        return None
    if state is None:
        return None  # raised by psycopg itself, about what it was given
    mend = "grant it to the user of EVENTSOURCE_POSTGRES__URL" if state == "42501" else "see what changed there"
    return DatabaseRefused(f"Postgres at {_where(settings)} refused a statement: {_text(error)}: {mend}")


def _no_connection(error: psycopg.OperationalError, settings: PostgresSettings) -> DatabaseUnavailable:
    text = _text(error)
    lowered = text.lower()
    if "does not exist" in lowered and "database" in lowered:
        reason, mend = "the database is missing", "create it, or name another in EVENTSOURCE_POSTGRES__URL"
    elif "password" in lowered or "authentication" in lowered or "role" in lowered or "pg_hba" in lowered:
        reason, mend = (
            "it refused the user",
            "check user, password and pg_hba.conf; EVENTSOURCE_POSTGRES__URL names them",
        )
    elif "timeout" in lowered or "timed out" in lowered:
        reason, mend = "it did not answer in time", "check address and firewall (EVENTSOURCE_POSTGRES__URL)"
    elif "resolve" in lowered or "translate host" in lowered or "name or service" in lowered:
        reason, mend = "its host name is unknown", "check EVENTSOURCE_POSTGRES__URL"
    elif "too many" in lowered or "remaining connection slots" in lowered:
        reason, mend = "it takes no more connections", "raise its max_connections, or run fewer workers"
    else:
        reason, mend = (
            "no connection",
            "check that it runs (`eventsource dev` starts one here) and EVENTSOURCE_POSTGRES__URL",
        )
    return DatabaseUnavailable(f"Postgres at {_where(settings)}: {reason} ({text}): {mend}")


def _where(settings: PostgresSettings) -> str:
    return redact_url(settings.url).partition("://")[2] or settings.url


def _text(error: psycopg.Error) -> str:
    return " ".join(str(error).split()) or type(error).__name__
