from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from dotenv import dotenv_values

from eventsource.dev_servers import DEV_FILE, running_dev_file, told_to_others
from eventsource.settings import load_settings, variable_sources

KAFKA = "EVENTSOURCE_KAFKA__BOOTSTRAP_SERVERS"


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in [name for name in os.environ if name.upper().startswith("EVENTSOURCE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    DEV_FILE.parent.mkdir()
    return tmp_path


def test_the_servers_are_found_while_it_runs_and_not_afterwards() -> None:
    with told_to_others(DEV_FILE, {KAFKA: "127.0.0.1:1"}):
        assert load_settings().kafka.bootstrap_servers == "127.0.0.1:1"
        assert variable_sources() == {KAFKA: str(DEV_FILE)}
    assert not DEV_FILE.exists()
    assert load_settings().kafka.bootstrap_servers == "127.0.0.1:9092"


def test_the_users_own_settings_go_before_them(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    with told_to_others(DEV_FILE, {KAFKA: "127.0.0.1:1"}):
        (folder / ".env").write_text(f"{KAFKA}=127.0.0.1:2\n")
        assert load_settings().kafka.bootstrap_servers == "127.0.0.1:2"
        monkeypatch.setenv(KAFKA, "127.0.0.1:3")
        assert load_settings().kafka.bootstrap_servers == "127.0.0.1:3"
        (folder / "other.env").write_text("")
        monkeypatch.delenv(KAFKA)
        assert load_settings(folder / "other.env").kafka.bootstrap_servers == "127.0.0.1:9092"


def test_what_a_killed_one_left_behind_is_not_believed() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    DEV_FILE.write_text(
        f"# Written by `eventsource dev`, process {ended.pid}; gone when it ends.\n{KAFKA}='127.0.0.1:1'\n"
    )
    assert running_dev_file() is None
    assert load_settings().kafka.bootstrap_servers == "127.0.0.1:9092"


@pytest.mark.parametrize(
    "content",
    [b"", b"EVENTSOURCE_NAMESPACE=x\n", b"\xff\xfe", b"# Written by `eventsource dev`, process 99999999999999999999\n"],
)
def test_a_file_that_it_did_not_write_is_not_believed(content: bytes) -> None:
    DEV_FILE.write_bytes(content)
    assert running_dev_file() is None


def test_only_its_owner_may_read_it_whatever_stood_there_before() -> None:
    DEV_FILE.write_text("")
    DEV_FILE.chmod(0o666)
    with told_to_others(DEV_FILE, {KAFKA: "x"}):
        assert stat.S_IMODE(DEV_FILE.stat().st_mode) == 0o600


@pytest.mark.parametrize("value", ["plain", "a b#c", "it's", 'say "x"', "back\\slash"])
def test_every_value_is_read_back_as_it_was(value: str) -> None:
    with told_to_others(DEV_FILE, {KAFKA: value}):
        assert load_settings().kafka.bootstrap_servers == value
        assert dotenv_values(DEV_FILE, interpolate=False) == {KAFKA: value}
