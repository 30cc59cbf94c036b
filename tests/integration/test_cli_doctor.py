"""`eventsource doctor`, and what `eventsource run` makes of a log in danger, as a shell sees them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from eventsource.testing.stack import SessionStack

PATIENCE_SECONDS = 60.0


class Shell:
    """Runs commands in a folder with the app that `eventsource init` writes."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self._folder = folder
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("EVENTSOURCE_")}
        self.environment = {
            **inherited,
            "EVENTSOURCE_APP": "shop:shop",
            "EVENTSOURCE_LOG_FORMAT": "text",
            "EVENTSOURCE_WORKER__HEALTH_PORT": "0",
            "EVENTSOURCE_WORKER__STATE_DIR": str(folder / "state"),
            **variables,
        }

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "eventsource", *arguments]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=self._folder, env=self.environment, **{**pipes, **options})

    def run(self, *arguments: str) -> tuple[int, str, str]:
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=PATIENCE_SECONDS)
        return process.returncode, out, err

    def alter(self, topic: str, setting: str, value: str) -> None:
        name = f"{self.environment['EVENTSOURCE_NAMESPACE']}.shop.item.{topic}"
        admin: Any = AdminClient({"bootstrap.servers": self.environment["EVENTSOURCE_KAFKA__BOOTSTRAP_SERVERS"]})
        entry = ConfigEntry(setting, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])
        admin.incremental_alter_configs([resource])[resource].result(PATIENCE_SECONDS)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while admin.describe_configs([resource])[resource].result(PATIENCE_SECONDS)[setting].value != value:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.fixture
def shell(tmp_path: Path, eventsource_stack: SessionStack, eventsource_namespace: str) -> Shell:
    shell = Shell(tmp_path, {**eventsource_stack.environment, "EVENTSOURCE_NAMESPACE": eventsource_namespace})
    for command in (("init",), ("topics", "apply")):
        code, _, err = shell.run(*command)
        assert code == 0, err
    return shell


def test_a_sound_log_exits_with_0_and_says_what_was_checked(shell: Shell) -> None:
    code, out, err = shell.run("doctor")
    assert code == 0, err
    assert "no topic was deleted and made anew" in out
    assert "danger:" not in out
    assert "0 dangers, 4 warnings: " in err
    assert "as development on 1 broker, 7 topics with 42 partitions, 0 events and 0 outcomes read" in err


def test_a_danger_exits_with_4_and_says_how_to_mend_it(shell: Shell) -> None:
    shell.alter("events", "retention.ms", "604800000")
    code, out, _ = shell.run("doctor", "shop:shop", "--no-replay")
    assert code == 4
    assert ".shop.item.events has retention.ms=604800000, -1 is demanded" in out
    assert "--add-config retention.ms=-1`" in out
    code, out, err = shell.run("doctor", "--json")
    assert (code, err) == (4, "")
    document = json.loads(out)
    assert document["ok"] is False
    found = {rule["rule"]: rule["result"] for rule in document["rules"]}
    assert found["events-retention"] == "danger"
    assert found["stopped-aggregate"] == "ok"


def test_production_can_be_asked_for(shell: Shell) -> None:
    code, out, _ = shell.run("doctor", "--production", "--no-replay", "--json")
    assert code == 4
    document = json.loads(out)
    assert (document["production"], document["dangers"]) == (True, 4)
    assert {rule["result"] for rule in document["rules"] if rule["rule"] == "stopped-aggregate"} == {"skipped"}


def test_brokers_that_do_not_answer_are_3_and_still_json(shell: Shell) -> None:
    shell.environment["EVENTSOURCE_KAFKA__BOOTSTRAP_SERVERS"] = "127.0.0.1:1"
    shell.environment["EVENTSOURCE_KAFKA__REQUEST_TIMEOUT_SECONDS"] = "2"
    code, out, err = shell.run("--log-level", "error", "doctor", "--json")
    assert (code, err) == (3, "")
    assert [rule["rule"] for rule in json.loads(out)["rules"] if rule["findings"]] == ["brokers-reachable"]


def test_a_worker_refuses_to_start_and_starts_when_the_risk_is_accepted(shell: Shell) -> None:
    shell.alter("outcomes", "retention.bytes", "1000000000")
    shell.alter("commands", "message.timestamp.type", "CreateTime")
    code, out, err = shell.run("--log-level", "error", "run")
    assert (code, out) == (4, "")
    lines = err.splitlines()
    assert lines[0] == "error: 2 findings endanger the log; `--accept-risk RULE` starts in spite of one:"
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["events-retention", "timestamp-type"]
    assert all("mend it with `kafka-configs " in line for line in lines[1:])

    code, _, err = shell.run("--log-level", "error", "run", "--accept-risk", "timestamp-type")
    assert code == 4
    assert "(rule events-retention)" in err

    accept = ("--accept-risk", "events-retention", "--accept-risk", "timestamp-type")
    log = shell.environment["EVENTSOURCE_WORKER__STATE_DIR"] + ".log"
    shell.environment["EVENTSOURCE_LOG_FORMAT"] = "json"
    with Path(log).open("w") as stderr, shell.start("run", "--json", *accept, stderr=stderr) as worker:
        try:
            assert worker.stdout is not None
            assert worker.stdout.readline(), Path(log).read_text()
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(PATIENCE_SECONDS) == 0
        finally:
            worker.kill()
    logged = [json.loads(line) for line in Path(log).read_text().splitlines()]
    risks = {line["rule"]: line["finding"] for line in logged if line["event"] == "risk_accepted"}
    assert set(risks) == {"events-retention", "timestamp-type"}
    assert "retention.bytes=1000000000" in risks["events-retention"]


def test_a_rule_that_does_not_exist_is_2_and_names_those_that_do(shell: Shell) -> None:
    code, out, err = shell.run("run", "--accept-risk", "event-retention")
    assert (code, out) == (2, "")
    assert err.startswith("error: --accept-risk event-retention: no rule of that name")
    assert "events-retention" in err
    assert err.count("\n") == 1
