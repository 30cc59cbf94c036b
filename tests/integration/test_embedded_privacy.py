"""What an embedded stack keeps from others on its machine, and from the users of its own database."""

from __future__ import annotations

import os
import pwd
import secrets
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from eventsource.embedded import EmbeddedStack
from eventsource.embedded.postgres_roles import ADMIN, USER
from tests.integration.test_embedded_stack import create_topic, produce

# Prints what this account can open of a folder of which it knows every path.
SPY = """
import os, sys
os.setgroups([]); os.setresgid(GROUP, GROUP, GROUP); os.setresuid(USER, USER, USER)
for path in sys.stdin.read().split("\\0"):
    try:
        os.listdir(path) if os.path.isdir(path) else open(path, "rb").close()
    except OSError:
        continue
    print(path)
"""
STRANGER = 65_001


@pytest.fixture(scope="module")
def stack() -> Iterator[EmbeddedStack]:
    before = os.umask(0o000)
    try:
        with EmbeddedStack.ephemeral() as started:
            create_topic(started.bootstrap_servers, "secrets", 1)
            produce(started.bootstrap_servers, "secrets", b"of one user")
            yield started
    finally:
        os.umask(before)


def test_nothing_of_the_data_folder_is_for_others(stack: EmbeddedStack) -> None:
    paths = [stack.data_dir, *stack.data_dir.rglob("*")]
    assert any(path.name.endswith(".log") and path.stat().st_size for path in paths)
    open_to_others = [
        str(path)
        for path in paths
        if stat.S_IMODE(path.lstat().st_mode) & (0o066 if path.is_dir() else 0o077)
        or path.lstat().st_mode & stat.S_IXOTH
    ]
    assert open_to_others == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("user", [STRANGER, pwd.getpwnam("nobody").pw_uid], ids=["a stranger", "Postgres's account"])
def test_no_other_account_opens_anything_but_postgres_its_own(stack: EmbeddedStack, user: int) -> None:
    paths = [stack.data_dir, *stack.data_dir.rglob("*")]
    group = STRANGER if user == STRANGER else pwd.getpwuid(user).pw_gid
    own = {str(path) for path in paths if path.lstat().st_uid == user}
    spy = SPY.replace("GROUP", str(group)).replace("USER", str(user))
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", spy],
        input="\0".join(map(str, paths)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.splitlines()) - own == set()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT pg_read_binary_file('/etc/passwd')",
        "SELECT pg_ls_dir('/root')",
        "SELECT lo_import('/etc/passwd')",
        "COPY stolen FROM '/etc/passwd'",
        "COPY stolen TO '/tmp/written-by-postgres'",
        "COPY stolen FROM PROGRAM 'id'",
        "ALTER SYSTEM SET archive_command = 'id'",
        f"GRANT pg_read_server_files TO {USER}",
        f"GRANT {ADMIN} TO {USER}",
        f"ALTER ROLE {USER} SUPERUSER",
    ],
)
def test_the_apps_user_reads_no_file_and_runs_no_program(stack: EmbeddedStack, statement: str) -> None:
    with psycopg.connect(stack.postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS stolen (line text)")
        with pytest.raises(psycopg.Error) as caught:
            connection.execute(statement)
    assert isinstance(caught.value, psycopg.errors.InsufficientPrivilege), caught.value


def test_the_psql_command_works_and_shows_no_password(stack: EmbeddedStack) -> None:
    command = stack.psql_command()
    assert stack.postgres_url.partition("@")[0].rpartition(":")[2] not in command
    done = subprocess.run(
        ["/bin/sh", "-c", f"{command} -At -c 'SELECT current_user, current_database()'"],
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.stdout.strip() == "eventsource|eventsource"


def test_a_database_of_an_earlier_version_loses_its_superuser_and_keeps_its_rows(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with EmbeddedStack(folder, kafka_port=0, postgres_port=0, durable=False) as stack:
        url = stack.postgres_url
        admin_url = url.replace(f"{USER}:", f"{ADMIN}:", 1)
        password = url.partition("@")[0].rpartition(":")[2]
        admin_password = (folder / "postgres" / "admin-password").read_text().strip()
        admin_url = admin_url.replace(password, admin_password).removesuffix(USER) + "postgres"
        with psycopg.connect(admin_url, autocommit=True) as admin:
            # As initdb made it: one user, a superuser, who owns everything.
            interim = secrets.token_hex(8)
            admin.execute(f"DROP DATABASE {USER}")
            admin.execute(f"DROP OWNED BY {USER}")
            admin.execute(f"DROP ROLE {USER}")
            admin.execute(f"CREATE ROLE interim SUPERUSER LOGIN PASSWORD '{interim}'")
        interim_url = url.replace(f"{USER}:{password}", f"interim:{interim}")
        with psycopg.connect(interim_url.removesuffix(USER) + "postgres", autocommit=True) as other:
            other.execute(f"ALTER ROLE {ADMIN} RENAME TO {USER}")
            other.execute(f"ALTER ROLE {USER} PASSWORD '{password}'")
        with psycopg.connect(url.removesuffix(USER) + "postgres", autocommit=True) as superuser:
            superuser.execute("DROP ROLE interim")
            superuser.execute(f"CREATE DATABASE {USER}")
        with psycopg.connect(url) as superuser:
            superuser.execute("CREATE SCHEMA shop")
            superuser.execute(
                "CREATE TABLE shop.items (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, n serial)"
            )
            superuser.execute("CREATE VIEW shop.names AS SELECT name FROM shop.items")
            superuser.execute("INSERT INTO shop.items (name) VALUES ('teapot')")
        (folder / "postgres" / "admin-password").unlink()
    for _ in range(2):
        with EmbeddedStack(folder, kafka_port=0, postgres_port=0, durable=False) as stack:
            assert stack.postgres_url == url
            with psycopg.connect(url) as connection:
                assert connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() == (
                    False,
                )
                connection.execute("INSERT INTO shop.items (name) VALUES ('cup')")
                connection.execute("ALTER TABLE shop.items ADD COLUMN IF NOT EXISTS price numeric")
                assert connection.execute("SELECT count(*) > 1 FROM shop.names").fetchone() == (True,)
                assert connection.execute("SELECT count(*) FROM pg_roles WHERE rolname ~ 'migration'").fetchone() == (
                    0,
                )
