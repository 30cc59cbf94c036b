"""The registry: which projections have built which tables of a Postgres schema, and of what."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from eventsource.consuming.catalog import relation_exists
from eventsource.consuming.database import PgConnection

TABLE = "eventsource_projections"


@dataclass(frozen=True, slots=True)
class Registered:
    """What a table was built by: `topics` are those that its rows came from.

    `shape` is a digest of its columns, keys and constraints as the class writes them. Where a class was written otherwise and the
    comparison found the same table, its digest is added after a space: workers and readers of both may run.
    """

    name: str
    revision: int
    table: str
    shape: str
    topics: tuple[str, ...]

    def has_shape(self, digest: str) -> bool:
        """Whether the table is known to be of that shape."""
        return digest in self.shape.split()


class Registry:
    """The table of projections in one Postgres schema. Every method takes part in the transaction of its connection."""

    def __init__(self, schema: str) -> None:
        self._schema = schema
        self._table = sql.Identifier(schema, TABLE)

    def create(self, connection: PgConnection) -> None:
        """Makes the table if it is missing."""
        if relation_exists(connection, self._schema, TABLE):
            return
        connection.execute(
            sql.SQL(
                "CREATE TABLE {} (name text PRIMARY KEY, revision integer NOT NULL, table_name text NOT NULL, "
                "shape text NOT NULL, topics text[] NOT NULL, built_at timestamptz NOT NULL DEFAULT now())"
            ).format(self._table)
        )

    def find(self, connection: PgConnection, name: str) -> Registered | None:
        """What is recorded of a projection."""
        row = connection.execute(
            sql.SQL("SELECT name, revision, table_name, shape, topics FROM {} WHERE name = %s").format(self._table),
            [name],
        ).fetchone()
        return None if row is None else Registered(row[0], row[1], row[2], row[3], tuple(row[4]))

    def record(self, connection: PgConnection, registered: Registered) -> None:
        """Records what a projection's table is built of."""
        connection.execute(
            sql.SQL(
                "INSERT INTO {} AS p (name, revision, table_name, shape, topics) VALUES (%s, %s, %s, %s, %s) "
                "ON CONFLICT (name) DO UPDATE SET revision = excluded.revision, table_name = excluded.table_name, "
                "shape = excluded.shape, topics = excluded.topics, built_at = now()"
            ).format(self._table),
            [registered.name, registered.revision, registered.table, registered.shape, list(registered.topics)],
        )
