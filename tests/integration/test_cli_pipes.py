"""What a command does when nobody reads its output any more, and what others print on its stderr."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eventsource.testing.stack import SessionStack
from tests.integration.shell import PATIENCE_SECONDS, Shell, shell_with_app


@pytest.fixture
def shell(tmp_path: Path, eventsource_stack: SessionStack, eventsource_namespace: str) -> Shell:
    shell = shell_with_app(tmp_path, eventsource_stack, eventsource_namespace)
    assert shell.run("topics", "apply", "shop:shop").returncode == 0
    return shell


def code_without_reader(shell: Shell, *arguments: str) -> tuple[int, str]:
    """The exit code and stderr of a command whose stdout is a pipe that is read no more."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "eventsource", *arguments],
            cwd=shell.folder,
            env=shell.environment,
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            timeout=2 * PATIENCE_SECONDS,
            check=False,
        )
    finally:
        os.close(writer)
    return done.returncode, done.stderr


def test_every_verb_ends_with_141_when_its_output_is_not_read(shell: Shell) -> None:
    with shell.worker("--only", "commands") as worker:
        worker.when_ready()
        shell.json("send", "shop:shop", "item", "t", "register", '{"title": "Pot"}')
        verbs = [
            ("--help",),
            ("--version",),
            ("events", "show", "--help"),
            ("--show-completion", "bash"),
            ("init", "other.py"),
            ("config", "show"),
            ("config", "reference"),
            ("config", "reference", "--json"),
            ("topics", "plan", "shop:shop"),
            ("topics", "apply", "shop:shop", "--json"),
            ("events", "show", "shop:shop", "item", "t"),
            ("events", "show", "shop:shop", "item", "t", "--json"),
            ("events", "tail", "shop:shop", "--from-beginning", "--no-follow"),
            ("events", "tail", "shop:shop"),  # nothing is recorded: it must notice while it waits
            ("state", "show", "shop:shop", "item", "t"),
            ("projections", "list", "shop:shop"),
            ("doctor", "shop:shop", "--json"),
            ("send", "shop:shop", "item", "t", "receive", '{"quantity": 1}'),
        ]
        with ThreadPoolExecutor(2) as pool:
            for verb, (code, errors) in zip(
                verbs, pool.map(lambda verb: code_without_reader(shell, *verb), verbs), strict=True
            ):
                assert code == 141, (verb, errors)
                assert "Traceback" not in errors
                assert "BrokenPipe" not in errors
        assert worker.end() == 0


def test_what_librdkafka_prints_is_json_too(shell: Shell) -> None:
    shown = shell.run(
        "--log-level",
        "debug",
        "events",
        "tail",
        "shop:shop",
        "--from-beginning",
        "--no-follow",
        EVENTSOURCE_LOG_FORMAT="auto",
        EVENTSOURCE_KAFKA__CLIENT__DEBUG="broker",
    )
    assert shown.returncode == 0
    lines = [json.loads(line) for line in shown.stderr.splitlines()]
    assert {"timestamp", "level", "logger", "event"} <= lines[0].keys()
    assert any(line["logger"] == "eventsource.kafka.librdkafka" for line in lines)
