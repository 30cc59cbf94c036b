"""The roles of an embedded Postgres: an administrator, used here alone, and the user that apps get, who is no superuser.

A superuser reads and writes any file, and runs any program, that the server's account may (`pg_read_file`, `COPY … FROM`,
`COPY … FROM PROGRAM`). As root's server it may keep a capability to enter closed folders: see `launcher.keep_reach`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import psycopg

ADMIN: Final = "postgres"
USER: Final = "eventsource"
DATABASE: Final = "eventsource"

# What tests and tools use: databases and roles of their own, and ending sessions.
_RIGHTS: Final = "LOGIN NOSUPERUSER CREATEDB CREATEROLE"
_MIGRATION: Final = "eventsource_migration"
# Schemas first: who owns a table needs the right to create in its schema. What belongs to a table follows it.
_GIVE_AWAY: Final = """
DO $$
DECLARE item record;
BEGIN
    FOR item IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' LOOP
        EXECUTE format('ALTER SCHEMA %I OWNER TO eventsource', item.nspname);
    END LOOP;
    FOR item IN
        SELECT relkind, oid::regclass AS name FROM pg_class AS class
        WHERE relnamespace IN (
            SELECT oid FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
        ) AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
        AND NOT EXISTS (
            SELECT 1 FROM pg_depend
            WHERE classid = 'pg_class'::regclass AND objid = class.oid AND refclassid = 'pg_class'::regclass
            AND deptype IN ('a', 'i')
        )
    LOOP
        EXECUTE format('ALTER %s %s OWNER TO eventsource', CASE item.relkind
            WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE'
            ELSE 'TABLE' END, item.name);
    END LOOP;
END $$
"""


def make_user(admin: psycopg.Connection, password: str) -> None:
    """Makes the apps' user and its database, where they are missing. `admin` is the administrator's, in autocommit mode."""
    if admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [USER]).fetchone() is None:
        _create(admin, USER, _RIGHTS, password)
        admin.execute(f"GRANT pg_signal_backend TO {USER}")
    if admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone() is None:
        admin.execute(f"CREATE DATABASE {DATABASE} OWNER {USER}")


def prepare_demotion(old_user: psycopg.Connection, admin_password: str) -> str:
    """For a folder of an earlier version, whose user is the superuser that initdb made: returns the role to call `demote` as."""
    if old_user.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [_MIGRATION]).fetchone() is not None:
        old_user.execute(f"DROP ROLE {_MIGRATION}")
    _create(old_user, _MIGRATION, "LOGIN SUPERUSER", admin_password)
    return _MIGRATION


def demote(migration: psycopg.Connection, *, admin_password: str, password: str) -> None:
    """Makes that superuser the administrator, and gives what it owned in the database to a new user of its old name. At once."""
    with migration.transaction():
        migration.execute(f"ALTER ROLE {USER} RENAME TO {ADMIN}")
        migration.execute(_with_password(migration, f"ALTER ROLE {ADMIN}", admin_password))
        _create(migration, USER, _RIGHTS, password)
        migration.execute(f"GRANT pg_signal_backend TO {USER}")
        migration.execute(f"ALTER DATABASE {DATABASE} OWNER TO {USER}")
        migration.execute(_GIVE_AWAY)


def forget_demotion(admin: psycopg.Connection) -> None:
    """Drops the role that `demote` was called as, if there is one."""
    admin.execute(f"DROP ROLE IF EXISTS {_MIGRATION}")


def _create(connection: psycopg.Connection, role: str, rights: str, password: str) -> None:
    connection.execute(_with_password(connection, f"CREATE ROLE {role} {rights}", password))


def _with_password(connection: psycopg.Connection, statement: str, password: str) -> bytes:
    # The server is given the password's SCRAM verifier, never the password: statements show in logs and in pg_stat_activity.
    from psycopg import sql

    verifier = connection.pgconn.encrypt_password(password.encode(), b"", b"scram-sha-256")
    return sql.SQL("{} PASSWORD {}").format(sql.SQL(statement), sql.Literal(verifier.decode())).as_bytes(connection)
