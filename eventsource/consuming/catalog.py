"""What a database already holds. Asked before anything is made, since `IF NOT EXISTS` needs the permission to make it anyway.

So a worker's user may be one that can only read and write rows, once somebody else made the tables.
"""

from __future__ import annotations

from eventsource.consuming.database import PgConnection


def schema_exists(connection: PgConnection, schema: str) -> bool:
    """Whether there is a schema of that name."""
    return connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [schema]).fetchone() is not None


def relation_exists(connection: PgConnection, schema: str, name: str) -> bool:
    """Whether a table, a view or an index has that name in the schema."""
    row = connection.execute(
        "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s",
        [schema, name],
    ).fetchone()
    return row is not None
