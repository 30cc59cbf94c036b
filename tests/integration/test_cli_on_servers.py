"""The command line as a shell sees it: real processes, real servers, exit codes, stdout and stderr."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from confluent_kafka import Producer

from eventsource.log.reader import LogReader
from eventsource.testing.stack import SessionStack
from tests.integration.shell import PATIENCE_SECONDS, Shell, one_sentence, shell_with_app


def http_status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.fixture
def shell(tmp_path: Path, eventsource_stack: SessionStack, eventsource_namespace: str) -> Shell:
    return shell_with_app(tmp_path, eventsource_stack, eventsource_namespace)


@pytest.fixture
def applied(shell: Shell) -> Shell:
    done = shell.run("topics", "apply", "shop:shop")
    assert done.returncode == 0, done.stderr
    return shell


# --- the app that init writes ------------------------------------------------------------------------------------


def test_the_app_that_init_writes_runs_as_it_is(applied: Shell) -> None:
    with applied.worker() as worker:
        assert worker.when_ready()["runners"] == ["commands/item", "projection/stock"]
        done = applied.run_python("shop.py")
        assert done.returncode == 0, done.stderr + worker.log()
        refused, level = done.stdout.splitlines()
        assert refused == "refused: only 7 left"
        assert level.endswith(": 7 Teapot")
        assert worker.end() == 0


# --- topics ------------------------------------------------------------------------------------------------------


def test_topics_are_planned_made_once_and_then_as_recorded(shell: Shell) -> None:
    planned = shell.json("topics", "plan", "shop:shop")["topics"]
    assert {change["action"] for change in planned} == {"create"}
    made = shell.json("topics", "apply", "shop:shop")["topics"]
    assert [change["topic"] for change in made] == [change["topic"] for change in planned]
    assert {change["action"] for change in shell.json("topics", "plan", "shop:shop")["topics"]} == {"none"}
    table = shell.run("topics", "plan", EVENTSOURCE_APP="shop:shop")
    assert table.returncode == 0
    assert f"{shell.environment['EVENTSOURCE_NAMESPACE']}.shop.item.events" in table.stdout
    assert "nothing to do" in table.stderr


def test_another_partition_count_is_a_conflict_everywhere_and_4(applied: Shell) -> None:
    app = applied.folder / "shop.py"
    app.write_text(app.read_text().replace("consumers=[Stock])", "consumers=[Stock], partitions=3)"))
    planned = applied.run("topics", "plan", "shop:shop", "--json")
    assert planned.returncode == 4
    assert {change["action"] for change in json.loads(planned.stdout)["topics"] if ".item." in change["topic"]} == {
        "conflict"
    }
    for arguments in (("topics", "apply", "shop:shop"), ("run", "shop:shop")):
        done = applied.run("--log-level", "error", *arguments)
        assert done.returncode == 4
        assert "has 8 partitions, the app wants 3" in one_sentence(done)


# --- events ------------------------------------------------------------------------------------------------------


def test_events_are_shown_and_followed(applied: Shell) -> None:
    with applied.worker() as worker:
        worker.when_ready()
        assert applied.run_python("shop.py").returncode == 0
        assert worker.end() == 0
    tailed = applied.run("events", "tail", "shop:shop", "item", "--from-beginning", "--no-follow", "--json")
    assert tailed.returncode == 0, tailed.stderr
    lines = [json.loads(line) for line in tailed.stdout.splitlines()]
    assert [(line["version"], line["type"]) for line in lines] == [(1, "registered"), (2, "received"), (3, "shipped")]
    item_id = lines[0]["id"]
    limited = applied.run("events", "tail", "shop:shop", "--from-beginning", "--limit", "2")
    assert limited.returncode == 0
    assert limited.stdout.count(item_id) == 2

    shown = applied.json("events", "show", "shop:shop", "item", item_id)
    assert shown["version"] == 3
    assert [event["data"] for event in shown["events"]] == [{"title": "Teapot"}, {"quantity": 10}, {"quantity": 3}]
    assert all(event["time"].endswith("+00:00") for event in shown["events"])
    assert applied.json("events", "show", "shop:shop", "item", item_id) == shown
    table = applied.run("events", "show", "shop:shop", "item", item_id)
    assert "title=Teapot" in table.stdout

    missing = applied.run("events", "show", "shop:shop", "item", "nobody")
    assert missing.returncode == 4
    assert "item 'nobody' does not exist" in one_sentence(missing)


def test_a_state_is_shown_as_it_is_and_as_it_was(applied: Shell) -> None:
    with applied.worker("--only", "commands") as worker:
        worker.when_ready()
        sent = applied.run_python("-c", SEND)
        assert sent.returncode == 0, sent.stderr
        assert worker.end() == 0
    show = ("state", "show", "shop:shop", "item", "teapot")
    newest = applied.json(*show)
    assert (newest["aggregate"], newest["id"], newest["version"]) == ("item", "teapot", 2)
    assert newest["state"]["quantity"] == 10
    first = applied.json(*show, "--at-version", "1")
    assert (first["version"], first["state"]["quantity"]) == (1, 0)
    assert applied.json(*show, "--at-time", newest["time"]) == newest
    people = applied.run("state", "show", "shop:shop", "item", "teapot")
    assert people.returncode == 0, people.stderr
    assert "item teapot  version 2" in people.stdout
    for arguments, code, text in (
        (("--at-version", "3"), 4, "the newest is 2"),
        (("--at-time", "2020-01-01T00:00:00Z"), 4, "did not exist yet"),
        (("--at-time", "2020-01-01"), 2, "has no time zone"),
        (("--at-time", "yesterday"), 2, "is not a time"),
        (("--at-version", "1", "--at-time", newest["time"]), 2, "not both"),
        (("more",), 2, "MODULE:APP AGGREGATE ID"),
    ):
        done = applied.run(*show, *arguments)
        assert done.returncode == code
        assert text in one_sentence(done)
    unknown = applied.run("state", "show", "shop:shop", "shelf", "1")
    assert unknown.returncode == 2
    assert "has no aggregate 'shelf'" in one_sentence(unknown)


SEND = """
from shop import Item, Receive, Register, shop

with shop.connect() as client:
    client.send(Item, "teapot", Register(title="Teapot"))
    client.send(Item, "teapot", Receive(quantity=10))
"""


def test_a_log_that_somebody_else_wrote_to_is_shown_with_what_is_wrong(applied: Shell) -> None:
    with applied.worker("--only", "commands") as worker:
        worker.when_ready()
        sent = applied.run_python("-c", SEND)
        assert sent.returncode == 0, sent.stderr
        assert worker.end() == 0
    tail = ("events", "tail", "shop:shop", "--from-beginning", "--no-follow", "--json")
    first = json.loads(applied.run(*tail).stdout.splitlines()[0])
    place = (first["topic"], first["partition"])
    kafka = {"bootstrap.servers": applied.environment["EVENTSOURCE_KAFKA__BOOTSTRAP_SERVERS"]}
    with LogReader(kafka) as reader:
        reader.assign({place: first["offset"]})
        record = reader.read(1, PATIENCE_SECONDS)[0]
    producer = Producer(kafka)
    # The same event once more, as a second writer would leave it, and something that is no event at all.
    producer.produce(place[0], record.value, record.key, partition=place[1], headers=list(record.headers))
    producer.produce(place[0], b"\x1b[31mnonsense", b"stranger", partition=place[1])
    assert producer.flush(PATIENCE_SECONDS) == 0

    shown = applied.run("events", "show", "shop:shop", "item", first["id"], "--json")
    assert shown.returncode == 5
    assert [event["version"] for event in json.loads(shown.stdout)["events"]] == [1, 2, 1]
    assert "version 1 follows version 2" in shown.stderr
    tailed = applied.run(*tail)
    assert tailed.returncode == 0
    assert json.loads(tailed.stdout.splitlines()[-1])["error"]["class"] == "HeaderError"
    people = applied.run("events", "tail", "shop:shop", "--from-beginning", "--no-follow")
    assert "warning: " in people.stderr
    assert "cannot be read" in people.stderr
    assert "\x1b" not in people.stdout + people.stderr


def test_looking_at_events_before_the_topics_are_made_is_4(shell: Shell) -> None:
    for arguments in (("events", "tail", "shop:shop"), ("events", "show", "shop:shop", "item", "x")):
        done = shell.run(*arguments)
        assert done.returncode == 4
        assert "topics apply" in one_sentence(done)


# --- a worker's life ---------------------------------------------------------------------------------------------


def test_a_worker_tells_its_health_and_drains_on_sigterm(applied: Shell) -> None:
    with applied.worker() as worker:
        ready = worker.when_ready()
        assert http_status(f"{ready['health_url']}/live") == 200
        assert http_status(f"{ready['health_url']}/ready") == 200
        assert worker.end() == 0
        assert "worker_drained" in worker.log()
        assert "worker_is_ready" in worker.log()


def test_a_worker_drains_on_ctrl_c(applied: Shell) -> None:
    with applied.worker("--only", "commands") as worker:
        worker.when_ready()
        assert worker.end(signal.SIGINT) == 0


def test_a_worker_ends_with_the_process_that_started_it(applied: Shell) -> None:
    with applied.worker("--only", "commands", "--until-stdin-closes", stdin=subprocess.PIPE) as worker:
        worker.when_ready()
        assert worker.process.stdin is not None
        worker.process.stdin.close()
        assert worker.process.wait(PATIENCE_SECONDS) == 0


def test_a_worker_without_topics_ends_with_4(shell: Shell) -> None:
    done = shell.run("--log-level", "error", "run", "shop:shop")
    assert done.returncode == 4
    assert "eventsource topics apply" in one_sentence(done)


def test_a_taken_health_port_is_2(applied: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = applied.run("run", "shop:shop", "--health-port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert "--health-port" in one_sentence(done)


STUBBORN = """
import threading, time
from eventsource import App
from eventsource.errors import OffsetLost

class Consumer:
    consumer_kind = "reactor"
    def __init__(self, name, work):
        self.consumer_name, self.work = name, work
    def check(self, app): pass
    def in_memory(self, app): raise NotImplementedError
    def runner(self, context): return self
    def ready(self): return True
    def run(self, stop): self.work(stop)

def ignore_stop(stop):
    while True:
        time.sleep(0.05)

def obey(stop):
    stop.wait()
    print("obeyed", flush=True)

def fail(stop):
    raise OffsetLost("offset 7 is gone: restore it from a backup")

shop = App("stubborn", aggregates=[], consumers=[Consumer("ignores", ignore_stop), Consumer("obeys", obey), Consumer("fails", fail)])
"""


@pytest.fixture
def stubborn(shell: Shell) -> Shell:
    """An app whose consumers misbehave: it needs no topics but the app's own three."""
    (shell.folder / "shop.py").write_text(STUBBORN)
    done = shell.run("topics", "apply", "shop:shop")
    assert done.returncode == 0, done.stderr
    return shell


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_ends_a_worker_at_once(stubborn: Shell, number: int, code: int) -> None:
    with stubborn.worker("--only", "ignores") as worker:
        worker.when_ready()
        worker.process.send_signal(number)
        worker.when_logged("worker_drains")
        began = time.monotonic()
        assert worker.end(number) == code
        assert time.monotonic() - began < 10, "the drain takes 20"


def test_a_worker_that_cannot_drain_says_what_did_not_finish(stubborn: Shell) -> None:
    stubborn.environment["EVENTSOURCE_WORKER__DRAIN_SECONDS"] = "0.5"
    with stubborn.worker("--only", "ignores", "--only", "obeys") as worker:
        worker.when_ready()
        assert worker.end() == 1
        assert worker.error()["message"].startswith("reactor/ignores did not finish within 0.5 s")
        assert (worker.error()["class"], worker.error()["exit_code"]) == ("DrainTimeout", 1)
        assert worker.output() == b"obeyed\n"


def test_a_runner_that_fails_for_good_ends_the_worker_with_its_code_once_the_others_are_drained(
    stubborn: Shell,
) -> None:
    with stubborn.worker("--fail-fast", "--only", "fails", "--only", "obeys") as worker:
        assert worker.process.wait(PATIENCE_SECONDS) == 5
        assert (worker.error()["class"], worker.error()["exit_code"]) == ("OffsetLost", 5)
        assert worker.error()["message"] == "offset 7 is gone: restore it from a backup"
        assert "Traceback" not in worker.log()
        assert worker.output() == b"obeyed\n"


# --- servers that are not there ----------------------------------------------------------------------------------


def test_no_broker_there_is_3_within_seconds(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    shell.environment["EVENTSOURCE_KAFKA__BOOTSTRAP_SERVERS"] = address
    shell.environment["EVENTSOURCE_KAFKA__REQUEST_TIMEOUT_SECONDS"] = "3"
    commands = [
        ("run", "shop:shop"),
        ("topics", "plan", "shop:shop"),
        ("events", "tail", "shop:shop"),
        ("events", "show", "shop:shop", "item", "1"),
    ]
    with ThreadPoolExecutor() as pool:
        for done in pool.map(lambda arguments: shell.run("--log-level", "error", *arguments), commands):
            assert done.returncode == 3
            assert address in one_sentence(done)


def test_a_port_where_nobody_speaks_kafka_is_3_too(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        done = shell.run(
            "topics",
            "plan",
            "shop:shop",
            EVENTSOURCE_KAFKA__BOOTSTRAP_SERVERS=address,
            EVENTSOURCE_KAFKA__REQUEST_TIMEOUT_SECONDS="2",
        )
    assert done.returncode == 3
    assert address in one_sentence(done)


def test_no_postgres_there_is_3_within_seconds(applied: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"postgresql://me:hunter2@127.0.0.1:{port}/db"
    done = applied.run("--log-level", "error", "run", "shop:shop", EVENTSOURCE_POSTGRES__URL=url)
    assert done.returncode == 3
    text = one_sentence(done)
    assert f"127.0.0.1:{port}" in text
    assert "hunter2" not in text


def test_a_postgres_that_refuses_is_3_and_told_apart(applied: Shell, eventsource_stack: SessionStack) -> None:
    base, _, _ = eventsource_stack.postgres_url.rpartition("/")
    done = applied.run("--log-level", "error", "run", "shop:shop", EVENTSOURCE_POSTGRES__URL=f"{base}/not_there")
    assert done.returncode == 3
    assert "the database is missing" in one_sentence(done)


def test_commands_alone_need_no_postgres(applied: Shell) -> None:
    applied.environment["EVENTSOURCE_POSTGRES__URL"] = "postgresql://127.0.0.1:1/db"
    with applied.worker("--only", "commands") as worker:
        assert worker.when_ready()["runners"] == ["commands/item"]
        assert worker.end() == 0


def test_a_wrong_kafka_client_setting_is_2(shell: Shell) -> None:
    done = shell.run("topics", "plan", "shop:shop", EVENTSOURCE_KAFKA__CLIENT__SASL_PASWORD="hunter2")
    assert done.returncode == 2
    text = one_sentence(done)
    assert "sasl.pasword" in text
    assert "hunter2" not in text
