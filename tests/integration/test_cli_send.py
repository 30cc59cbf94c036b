"""`eventsource send` on real servers, and what its caller learns when no answer comes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eventsource.log.admin import LogAdmin
from eventsource.testing.stack import SessionStack
from tests.integration.shell import PATIENCE_SECONDS, Shell, one_sentence, shell_with_app


@pytest.fixture
def shell(tmp_path: Path, eventsource_stack: SessionStack, eventsource_namespace: str) -> Shell:
    shell = shell_with_app(tmp_path, eventsource_stack, eventsource_namespace)
    shell.environment["EVENTSOURCE_APP"] = "shop:shop"
    assert shell.run("topics", "apply").returncode == 0
    return shell


def test_a_command_is_sent_once_and_its_outcome_is_printed(shell: Shell) -> None:
    with shell.worker("--only", "commands") as worker:
        worker.when_ready()
        registered = shell.json("send", "item", "t", "register", '{"title": "Pot"}')
        assert (registered["aggregate"], registered["id"], registered["version"]) == ("item", "t", 1)
        receive = ("send", "shop:shop", "item", "t", "receive", "-", "--command-id", "c", "--actor", "me")
        for _ in range(2):
            done = subprocess.run(
                [sys.executable, "-m", "eventsource", *receive, "--metadata", "from=shell", "--json"],
                cwd=shell.folder,
                env=shell.environment,
                input='{"quantity": 5}',
                capture_output=True,
                text=True,
                timeout=PATIENCE_SECONDS,
                check=True,
            )
            assert json.loads(done.stdout)["version"] == 2
        event = shell.json("events", "show", "item", "t")["events"][1]
        assert (event["command_id"], event["actor"], event["metadata"]) == ("c", "me", {"from": "shell"})
        for arguments, code, text in (
            (("t", "ship", '{"quantity": 6}'), 6, "out_of_stock: available=5"),
            (("t", "register", '{"title": "Pot"}'), 4, "exists already"),
            (("u", "ship", '{"quantity": 1}'), 4, "does not exist"),
            (("t", "ship", '{"quantity": 1}', "--expected-version", "1"), 4, "expected version 1, found 2"),
            (("t", "ship", '{"quantity": 1}', "--command-id", "c"), 2, "another content"),
            (("t", "ship"), 2, "quantity: Field required"),
            (("t", "ship", '{"quantity": 1}', "--metadata", "x"), 2, "NAME=TEXT"),
            (("t", "ship", '{"quantity": 1}', "--sent-at", "now"), 2, "--sent-at 'now' is not a time"),
        ):
            done = shell.run("send", "item", *arguments)
            assert (done.returncode, text in one_sentence(done)) == (code, True), done.stderr
        rejected = shell.run("send", "item", "t", "ship", '{"quantity": 6}', "--json")
        error = json.loads(rejected.stderr)
        assert (error["class"], error["exit_code"]) == ("OutOfStock", 6)
        assert error["details"] == {"code": "out_of_stock", "available": 5}
        assert worker.end() == 0


def test_without_an_answer_it_says_how_to_repeat_the_command(shell: Shell) -> None:
    send = ("send", "item", "t", "register", '{"title": "Pot"}')
    done = shell.run(*send, "--timeout", "10", "--json", EVENTSOURCE_LOG_FORMAT="json")
    assert done.returncode == 7
    hint, error = map(json.loads, done.stderr.splitlines())
    repeat = [error["details"]["command_id"], error["details"]["sent_at"]]
    assert hint["event"].endswith(f"--command-id {repeat[0]} --sent-at {repeat[1]}")
    with shell.worker("--only", "commands") as worker:
        worker.when_ready()
        again = shell.json(*send, "--command-id", repeat[0], "--sent-at", repeat[1])
        assert (again["command_id"], again["version"]) == (repeat[0], 1)
        assert worker.end() == 0


@pytest.mark.parametrize(("number", "code", "last"), [(signal.SIGINT, 130, "Interrupted"), (signal.SIGTERM, 143, None)])
def test_a_signal_says_how_to_repeat_the_command(shell: Shell, number: int, code: int, last: str | None) -> None:
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "eventsource",
            "--log-level",
            "debug",
            "send",
            "item",
            "t",
            "register",
            '{"title": "Pot"}',
        ],
        cwd=shell.folder,
        env={**shell.environment, "EVENTSOURCE_LOG_FORMAT": "json"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_until_sent(shell)
        process.send_signal(number)
        _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == code
    said = [json.loads(line) for line in errors.splitlines()]
    if last is not None:
        assert said.pop()["class"] == last
    assert "--command-id" in said[-1]["event"]


def wait_until_sent(shell: Shell) -> None:
    topic = f"{shell.environment['EVENTSOURCE_NAMESPACE']}.shop.item.commands"
    places = [(topic, partition) for partition in range(8)]
    deadline = time.monotonic() + PATIENCE_SECONDS
    with LogAdmin({"bootstrap.servers": shell.environment["EVENTSOURCE_KAFKA__BOOTSTRAP_SERVERS"]}) as admin:
        while not any(admin.end_offsets(places).values()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
