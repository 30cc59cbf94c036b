"""`eventsource dev` as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from confluent_kafka.admin import AdminClient

from eventsource.embedded.processes import ProcessRecord
from eventsource.embedded.record import StackRecord

PATIENCE_SECONDS = 180.0


@contextmanager
def dev(tmp_path: Path, *arguments: str, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """The command in a folder of its own, in a session of its own: signals reach it alone."""
    with subprocess.Popen(
        [sys.executable, "-m", "eventsource", "dev", *arguments],
        cwd=tmp_path,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "EVENTSOURCE_LOG_FORMAT": "text", **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        too_late = threading.Timer(PATIENCE_SECONDS, process.kill)
        too_late.start()
        try:
            yield process
        finally:
            too_late.cancel()
            process.kill()


def servers_of(data_dir: Path) -> list[ProcessRecord]:
    record = StackRecord.read(data_dir)
    assert record is not None
    return record.servers


def found_in(folder: Path) -> dict[str, str]:
    """Where a command in a shell without settings finds them."""
    done = subprocess.run(
        [sys.executable, "-m", "eventsource", "config", "show", "--json"],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith("EVENTSOURCE_")},
        capture_output=True,
        timeout=60,
        check=True,
    )
    sources: dict[str, str] = json.loads(done.stdout)["sources"]
    return sources


def test_it_prints_addresses_that_answer_and_stops_in_order_on_sigterm(tmp_path: Path) -> None:
    with dev(tmp_path, "--ephemeral", "--json", "--kafka-port", "0", "--postgres-port", "0") as process:
        assert process.stdout is not None
        addresses = json.loads(process.stdout.readline())
        with psycopg.connect(addresses["postgres_url"]) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        admin = AdminClient({"bootstrap.servers": addresses["bootstrap_servers"]})
        assert len(admin.list_topics(timeout=10).brokers) == 1
        data_dir = Path(addresses["data_dir"])
        assert addresses["environment"] == {
            "EVENTSOURCE_KAFKA__BOOTSTRAP_SERVERS": addresses["bootstrap_servers"],
            "EVENTSOURCE_POSTGRES__URL": addresses["postgres_url"],
            "EVENTSOURCE_WORKER__STATE_DIR": str(data_dir / "stores"),
        }
        servers = servers_of(data_dir)
        process.terminate()
        rest, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert rest == ""
    assert "stopping" in errors
    assert not any(server.is_alive for server in servers)
    assert not data_dir.exists()


def test_people_see_addresses_and_logs_until_ctrl_c(tmp_path: Path) -> None:
    with dev(tmp_path, "--logs", "--kafka-port", "0", "--postgres-port", "0") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines: list[str] = []
        while not lines or "Ctrl-C" not in lines[-1]:
            lines.append(process.stdout.readline())
            assert lines[-1], process.stderr.read()
        text = "".join(lines)
        exports = dict(line.strip().removeprefix("export ").split("=", 1) for line in lines if "export " in line)
        assert exports["EVENTSOURCE_KAFKA__BOOTSTRAP_SERVERS"] in text
        psql = next(line for line in lines if "/psql " in line)
        assert exports["EVENTSOURCE_POSTGRES__URL"].partition("@")[0].rpartition(":")[2] not in psql
        assert "PGPASSFILE=" in psql
        assert "kcat -b 127.0.0.1:" in text
        # Other commands in this folder find the servers by themselves.
        assert "find them by themselves" in text
        assert found_in(tmp_path) == {name: str(Path(".eventsource") / "dev.env") for name in exports}
        url = exports["EVENTSOURCE_POSTGRES__URL"]
        with pytest.raises(psycopg.errors.UndefinedTable), psycopg.connect(url) as connection:
            connection.execute("SELECT * FROM no_such_table")
        while "no_such_table" not in (line := process.stderr.readline()):
            assert line
        assert line.startswith("postgres | ")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert servers_of(tmp_path / ".eventsource") == []
    assert found_in(tmp_path) == {}
    assert (tmp_path / ".eventsource" / ".gitignore").read_text() == "*\n"


class Lines:
    """What a process prints on its stderr, as JSON, read until something was said."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.read: list[str] = []

    def until(self, text: str) -> None:
        assert self._process.stderr is not None
        while text not in (line := self._process.stderr.readline()):
            assert line, "".join(self.read)
            self.read.append(line)
            json.loads(line)


def test_the_servers_go_on_when_workers_end_and_a_changed_read_model_is_rebuilt_when_asked(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "eventsource", "init"], cwd=tmp_path, check=True, capture_output=True)
    app = tmp_path / "shop.py"
    right = app.read_text()
    app.write_text(right + "\nraise RuntimeError('not yet')\n")
    arguments = ("--ephemeral", "--reload", "--rebuild", "--json", "--kafka-port", "0", "--postgres-port", "0")
    settings = {
        "EVENTSOURCE_APP": "shop:shop",
        "EVENTSOURCE_LOG_FORMAT": "json",
        "EVENTSOURCE_WORKER__HEALTH_PORT": "0",
    }
    with dev(tmp_path, *arguments, **settings) as process:
        said = Lines(process)
        said.until("topics apply ended with exit code 2, Kafka and Postgres go on: waiting for a change")
        save(app, right)
        said.until("worker_is_ready")
        first = "".join(said.read)
        assert "rebuilt" not in first
        save(app, right.replace('name="stock")', 'name="stock", revision=2)'))
        said.until("rebuilt stock: 0 rows from 0 events")
        said.until("worker_is_ready")
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out.count("\n") == 1, "only the addresses are data"


def save(file: Path, text: str) -> None:
    """As editors do: another file, renamed over the old one."""
    other = file.with_suffix(".tmp")
    other.write_text(text)
    other.replace(file)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--brokers", "2"], "use 1 or 3"),
        (["--reload"], "name the app as MODULE:APP"),
        (["--rebuild"], "name the app as MODULE:APP"),
        (["shop:shop", "--no-workers", "--reload"], "name the app as MODULE:APP"),
        (["--data-dir", "file"], "choose another"),
        (["--data-dir", "/proc/nothing"], "choose another"),
        (["--data-dir", "a,b"], "comma"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_2(tmp_path: Path, arguments: list[str], text: str) -> None:
    (tmp_path / "file").write_text("")
    with dev(tmp_path, *arguments) as process:
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert output == ""
    assert text in errors
    assert "Traceback" not in errors
