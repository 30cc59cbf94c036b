"""Several `eventsource dev` that begin at the same moment, each in a project of its own."""

from __future__ import annotations

import json
import signal
from contextlib import ExitStack
from pathlib import Path

import psycopg
from confluent_kafka.admin import AdminClient

from eventsource.embedded.ports import choose_port
from eventsource.embedded.record import StackRecord
from tests.integration.test_cli_dev import dev
from tests.sweeps import Sweep


def test_two_that_begin_together_each_name_servers_of_their_own(tmp_path: Path, sweep: Sweep) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    for _ in range(sweep.times(2, 10)):
        # Wishes that both find free: nobody listens yet when they look.
        taken: set[int] = set()
        ports = [str(choose_port([], taken=taken)) for _ in range(2)]
        arguments = ["--json", "--kafka-port", ports[0], "--postgres-port", ports[1]]
        with ExitStack() as running:
            processes = [running.enter_context(dev(folder, *arguments)) for folder in folders]
            addresses = []
            for process in processes:
                assert process.stdout is not None
                assert process.stderr is not None
                line = process.stdout.readline()
                assert line, process.stderr.read()
                addresses.append(json.loads(line))
            for key in ("bootstrap_servers", "postgres_url"):
                assert len({found[key] for found in addresses}) == 2, key
            for folder, found in zip(folders, addresses, strict=True):
                record = StackRecord.read(folder / ".eventsource")
                assert record is not None
                admin = AdminClient({"bootstrap.servers": found["bootstrap_servers"]})
                assert admin.list_topics(timeout=10).cluster_id == record.cluster_id
                with psycopg.connect(found["postgres_url"]) as connection:
                    connection.execute("SELECT 1")
                told = (folder / ".eventsource" / "dev.env").read_text()
                assert found["bootstrap_servers"] in told
                assert found["postgres_url"] in told
            for process in processes:
                process.send_signal(signal.SIGTERM)
            for process in processes:
                _, errors = process.communicate(timeout=60)
                assert process.returncode == 0, errors
