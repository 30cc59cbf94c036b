"""The roles of an embedded Postgres: an administrator, used here alone, and the user that apps get, who is no superuser.

A superuser reads and writes any file, and runs any program, that the server's account may (`pg_read_file`, `COPY … FROM`,
`COPY … FROM PROGRAM`). As root's server it may keep a capability to enter closed folders: see `launcher.keep_reach`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, count
from typing import TYPE_CHECKING, Final, LiteralString

if TYPE_CHECKING:
    import psycopg

ADMIN: Final = "postgres"
USER: Final = "eventsource"
DATABASE: Final = "eventsource"

# What tests and tools use: databases and roles of their own, and ending sessions.
_RIGHTS: Final = "LOGIN NOSUPERUSER CREATEDB CREATEROLE"
_MIGRATION: Final = "eventsource_migration"
# Objects that initdb made have lower ids. What an extension or a table brings along follows those.
_OWNED: Final = """
WITH owned (catalog, id) AS (
    SELECT 'pg_namespace'::regclass, oid FROM pg_namespace WHERE nspowner = %(admin)s::regrole AND nspname !~ '^pg_'
    UNION ALL
    SELECT 'pg_class'::regclass, oid FROM pg_class WHERE relowner = %(admin)s::regrole
        AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND relpersistence <> 't'
    UNION ALL
    SELECT 'pg_type'::regclass, oid FROM pg_type WHERE typowner = %(admin)s::regrole
        AND typtype IN ('b', 'c', 'd', 'e', 'r') AND typcategory <> 'A'
        AND (typrelid = 0 OR typrelid IN (SELECT oid FROM pg_class WHERE relkind = 'c'))
    UNION ALL
    SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE proowner = %(admin)s::regrole
    UNION ALL
    SELECT 'pg_operator'::regclass, oid FROM pg_operator WHERE oprowner = %(admin)s::regrole
    UNION ALL
    SELECT 'pg_collation'::regclass, oid FROM pg_collation WHERE collowner = %(admin)s::regrole
    UNION ALL
    SELECT 'pg_ts_config'::regclass, oid FROM pg_ts_config WHERE cfgowner = %(admin)s::regrole
    UNION ALL
    SELECT 'pg_ts_dict'::regclass, oid FROM pg_ts_dict WHERE dictowner = %(admin)s::regrole
    UNION ALL
    SELECT 'pg_statistic_ext'::regclass, oid FROM pg_statistic_ext WHERE stxowner = %(admin)s::regrole
    UNION ALL
    SELECT 'pg_largeobject'::regclass, oid FROM pg_largeobject_metadata WHERE lomowner = %(admin)s::regrole
)
SELECT format(
    'ALTER %%s %%s OWNER TO eventsource',
    CASE found.type WHEN 'statistics object' THEN 'statistics' ELSE found.type END,
    found.identity
)
FROM owned, pg_identify_object(catalog, id, 0) AS found
WHERE id >= 16384 AND NOT EXISTS (
    SELECT 1 FROM pg_depend WHERE classid = catalog AND objid = id AND (
        deptype = 'e'
        OR found.type = 'sequence' AND refclassid = 'pg_class'::regclass AND refobjid <> id AND deptype IN ('a', 'i')
    )
)
"""
# Of the roles that the superuser made, those that open no more than itself: a member of `pg_…` may read files.
_ORDINARY_ROLES: Final = """
SELECT format('GRANT %%I TO eventsource WITH ADMIN TRUE, INHERIT TRUE, SET TRUE', role.rolname)
FROM pg_roles AS role
WHERE role.rolname !~ '^pg_' AND role.rolname <> ALL (%s) AND NOT role.rolreplication AND NOT role.rolbypassrls
AND NOT EXISTS (
    SELECT 1 FROM pg_roles AS other
    WHERE (other.rolsuper OR other.rolreplication OR other.rolbypassrls
        OR other.rolname ~ '^pg_' AND other.rolname <> 'pg_database_owner')
    AND pg_has_role(role.oid, other.oid, 'MEMBER')
)
"""


def make_user(admin: psycopg.Connection, password: str) -> None:
    """Makes the apps' user and its database, where they are missing. `admin` is the administrator's, in autocommit mode."""
    if admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [USER]).fetchone() is None:
        _create(admin, USER, _RIGHTS, password)
        admin.execute(f"GRANT pg_signal_backend TO {USER}")
    if admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone() is None:
        admin.execute(f"CREATE DATABASE {DATABASE} OWNER {USER}")


def choose_admin(old_user: psycopg.Connection) -> str:
    """A name for the administrator that no role has: a restored dump may have brought a role `postgres`."""
    taken = {str(name) for (name,) in old_user.execute("SELECT rolname FROM pg_roles")}
    others = (f"{USER}_admin{number or ''}" for number in count())
    return next(name for name in chain([ADMIN], others) if name not in taken)


def prepare_demotion(old_user: psycopg.Connection, admin_password: str) -> str:
    """For a folder of an earlier version, whose user is the superuser that initdb made: returns the role to call `demote` as."""
    if old_user.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [_MIGRATION]).fetchone() is not None:
        old_user.execute(f"DROP ROLE {_MIGRATION}")
    _create(old_user, _MIGRATION, "LOGIN SUPERUSER", admin_password)
    return _MIGRATION


def demote(migration: psycopg.Connection, admin: str, *, admin_password: str, password: str) -> None:
    """Makes that superuser the administrator, and gives its databases to a new user of its old name. At once.

    The user stays a member, with the right to grant them, of the roles that were made beside it: it could use what they own before.
    """
    with migration.transaction():
        migration.execute(f"ALTER ROLE {USER} RENAME TO {admin}")
        migration.execute(_with_password(migration, f"ALTER ROLE {admin}", admin_password))
        _create(migration, USER, _RIGHTS, password)
        migration.execute(f"GRANT pg_signal_backend TO {USER}")
        owned = "SELECT format('ALTER DATABASE %%I OWNER TO eventsource', datname) FROM pg_database "
        _run(migration, owned + "WHERE datdba = %s::regrole AND oid >= 16384", [admin])
        _run(migration, _ORDINARY_ROLES, [[admin, USER, _MIGRATION]])


def databases(admin: psycopg.Connection) -> list[str]:
    """Those that can be connected to."""
    found = admin.execute("SELECT datname FROM pg_database WHERE datallowconn AND datconnlimit <> -2 ORDER BY oid")
    return [str(name) for (name,) in found]


def give_away(connection: psycopg.Connection, admin: str) -> None:
    """Gives what the administrator owns in this database to the user; what others own stays theirs. To repeat it does no harm."""
    _run(connection, _OWNED, {"admin": admin})


def forget_demotion(admin: psycopg.Connection) -> None:
    """Drops the role that `demote` was called as, if there is one."""
    admin.execute(f"DROP ROLE IF EXISTS {_MIGRATION}")


def _run(connection: psycopg.Connection, query: LiteralString, values: Sequence[object] | Mapping[str, object]) -> None:
    """Executes the statements that the query returns."""
    for (statement,) in connection.execute(query, values).fetchall():
        connection.execute(str(statement).encode())


def _create(connection: psycopg.Connection, role: str, rights: str, password: str) -> None:
    connection.execute(_with_password(connection, f"CREATE ROLE {role} {rights}", password))


def _with_password(connection: psycopg.Connection, statement: str, password: str) -> bytes:
    # The server is given the password's SCRAM verifier, never the password: statements show in logs and in pg_stat_activity.
    from psycopg import sql

    verifier = connection.pgconn.encrypt_password(password.encode(), b"", b"scram-sha-256")
    return sql.SQL("{} PASSWORD {}").format(sql.SQL(statement), sql.Literal(verifier.decode())).as_bytes(connection)
