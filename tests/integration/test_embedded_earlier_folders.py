"""Postgres folders of earlier versions, whose only user is a superuser: what that user owned is still theirs afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

import eventsource.embedded.postgres
from eventsource.embedded.account import account_for
from eventsource.embedded.ports import choose_port
from eventsource.embedded.postgres import PostgresServer
from eventsource.embedded.postgres_roles import ADMIN, DATABASE, USER, give_away
from eventsource.embedded.processes import ProcessRecord
from eventsource.errors import EmbeddedStackError

OBJECTS = """
CREATE TABLE parts (id int, n serial) PARTITION BY RANGE (id);
CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (10);
INSERT INTO parts VALUES (1);
CREATE TABLE items (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int, b int);
CREATE STATISTICS ab ON a, b FROM items;
CREATE MATERIALIZED VIEW seen AS SELECT a FROM items;
CREATE SEQUENCE numbers;
CREATE TYPE mood AS ENUM ('glad');
CREATE TYPE pair AS (one int, two int);
CREATE TYPE span AS RANGE (subtype = int4);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE PROCEDURE nothing() LANGUAGE sql AS '';
CREATE AGGREGATE total (int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');
SELECT lo_create(0);
"""
OF_OTHERS = """
CREATE ROLE alice LOGIN;
CREATE ROLE spy IN ROLE pg_read_server_files;
CREATE SCHEMA hers AUTHORIZATION alice;
CREATE TABLE hers.own (i int);
ALTER TABLE hers.own OWNER TO alice;
CREATE TABLE hers.ours (i int);
"""
LEFT = """
SELECT 'relation', oid::regclass::text FROM pg_class WHERE relowner = %(owner)s::regrole AND oid >= 16384
    AND relnamespace <> 'pg_toast'::regnamespace
UNION ALL SELECT 'schema', nspname FROM pg_namespace WHERE nspowner = %(owner)s::regrole AND oid >= 16384
UNION ALL SELECT 'type', typname FROM pg_type WHERE typowner = %(owner)s::regrole AND oid >= 16384
    AND typnamespace <> 'pg_toast'::regnamespace
UNION ALL SELECT 'routine', proname FROM pg_proc WHERE proowner = %(owner)s::regrole AND oid >= 16384
UNION ALL SELECT 'statistics', stxname FROM pg_statistic_ext WHERE stxowner = %(owner)s::regrole
UNION ALL SELECT 'large object', oid::text FROM pg_largeobject_metadata WHERE lomowner = %(owner)s::regrole
UNION ALL SELECT 'database', datname FROM pg_database WHERE datdba = %(owner)s::regrole AND oid >= 16384
"""


class NoLedger:
    """The servers of this test are stopped by it."""

    def add(self, record: ProcessRecord) -> None: ...

    def remove(self, record: ProcessRecord) -> None: ...


def a_server(folder: Path) -> PostgresServer:
    port = choose_port([0], taken=set())
    log = folder.parent / "postgres.log"
    return PostgresServer(folder, log, NoLedger(), port=port, durable=False, start_timeout_seconds=60)


@contextmanager
def running(folder: Path) -> Iterator[PostgresServer]:
    server = a_server(folder)
    server.launch()
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.stop()


def connect(server: PostgresServer, database: str = DATABASE) -> psycopg.Connection:
    return psycopg.connect(server.url.removesuffix(DATABASE) + database, autocommit=True)


@pytest.fixture
def old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As earlier versions made it: `eventsource` is the superuser of initdb, and there are no files of an administrator."""
    folder = tmp_path / "postgres"
    folder.mkdir(mode=0o711)
    (folder / "admin-name").write_text(USER)
    server = a_server(folder)
    server._initialise(account_for(folder, server._programs / "postgres"))
    (folder / "admin-password").replace(folder / "password")
    with monkeypatch.context() as patched:
        patched.setattr(PostgresServer, "_prepare", lambda server: connect(server, "postgres").close() is None)
        with running(folder) as old:
            with connect(old, "postgres") as superuser:
                superuser.execute(f"CREATE DATABASE {DATABASE}")
                superuser.execute("CREATE DATABASE another")
            for database in (DATABASE, "another"):
                with connect(old, database) as superuser:
                    superuser.execute(OBJECTS)
            with connect(old) as superuser:
                superuser.execute(OF_OTHERS)
    (folder / "admin-name").unlink()
    return folder


def left(server: PostgresServer, database: str, owner: str) -> list[tuple[str, str]]:
    with connect(server, database) as connection:
        return connection.execute(LEFT, {"owner": owner}).fetchall()


def test_the_user_keeps_what_was_theirs_in_every_database_and_takes_nothing_of_others(old_folder: Path) -> None:
    with running(old_folder) as server:
        assert [left(server, database, ADMIN) for database in (DATABASE, "another")] == [[], []]
        hers = [("relation", "hers.own"), ("schema", "hers"), ("type", "_own"), ("type", "own")]
        assert sorted(left(server, DATABASE, "alice")) == hers
        with connect(server) as user:
            assert user.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() == (False,)
            user.execute("ALTER TYPE mood ADD VALUE 'sad'")
            user.execute("CREATE OR REPLACE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 2'")
            user.execute("SELECT * FROM hers.own")
            for table in ("parts", "hers.ours", "hers.own"):
                user.execute(f"DROP TABLE {table}")
            user.execute("DROP SCHEMA hers")
            user.execute("DROP ROLE alice")
            assert user.execute("SELECT pg_has_role('spy', 'MEMBER')").fetchone() == (False,)
            user.execute("DROP DATABASE another")


@pytest.fixture
def as_superuser(old_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Executes what the earlier version's user does."""

    def execute(statements: str) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(PostgresServer, "_prepare", lambda server: connect(server, "postgres").close() is None)
            with running(old_folder) as old, connect(old) as superuser:
                superuser.execute(statements)

    return execute


def test_an_extension_stays_whole_and_what_uses_it_is_the_users(
    old_folder: Path, as_superuser: Callable[[str], None]
) -> None:
    as_superuser("CREATE EXTENSION vector; CREATE TABLE places (at vector(2))")
    with running(old_folder) as server, connect(server) as user:
        user.execute("INSERT INTO places VALUES ('[1,2]')")
        user.execute("ALTER TABLE places ADD COLUMN name text")
        owners = user.execute("SELECT DISTINCT proowner::regrole::text FROM pg_proc WHERE proname = 'l2_distance'")
        assert owners.fetchall() == [(ADMIN,)]


def test_a_role_of_the_administrators_name_stays_what_it_is(
    old_folder: Path, as_superuser: Callable[[str], None]
) -> None:
    as_superuser(f"CREATE ROLE {ADMIN} NOLOGIN; CREATE ROLE eventsource_admin")
    for _ in range(2):
        with running(old_folder) as server, connect(server) as user:
            roles = user.execute("SELECT rolname, rolsuper FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1").fetchall()
            supers = [name for name, is_super in roles if is_super]
            assert supers == ["eventsource_admin1"]
            assert (ADMIN, False) in roles
            assert left(server, DATABASE, supers[0]) == []


def test_a_conversion_that_was_interrupted_goes_on(old_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def fail_at_second(connection: psycopg.Connection, admin: str) -> None:
        calls.append(admin)
        if len(calls) == 2:
            raise psycopg.OperationalError("cut")
        give_away(connection, admin)

    monkeypatch.setattr(eventsource.embedded.postgres, "give_away", fail_at_second)
    with running(old_folder) as server:
        assert len(calls) > 4
        assert [left(server, database, ADMIN) for database in (DATABASE, "another")] == [[], []]


def test_what_keeps_a_folder_from_being_converted_is_said(old_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(connection: psycopg.Connection, admin: str) -> None:
        connection.execute("DROP ROLE nobody_at_all")

    monkeypatch.setattr(eventsource.embedded.postgres, "give_away", refuse)
    said = r'"nobody_at_all" does not exist.*start it with that version'
    with pytest.raises(EmbeddedStackError, match=said), running(old_folder):
        pass
