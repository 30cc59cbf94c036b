"""How `eventsource dev MODULE:APP` runs the app's processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eventsource.cli import dev_session
from eventsource.cli.dev_session import DevSession
from eventsource.errors import EmbeddedStackError


class FakeChild:
    """A process that ends with the code it was told to, or runs until the test says otherwise."""

    def __init__(self, name: str, exit_code: int | None) -> None:
        self.name = name
        self.exit_code = exit_code
        self.words: list[str] = []
        self.environment: dict[str, str] = {}

    def launch(self, command: list[str], *, cwd: Path, environment: dict[str, str], stdout: object) -> None:
        self.words = command[3:]
        self.environment = environment

    @property
    def is_running(self) -> bool:
        return self.exit_code is None


class FakeStack:
    bootstrap_servers = "127.0.0.1:9092"
    stores_dir = Path("stores")
    postgres_url = "postgresql://u:p@127.0.0.1:5432/d"

    def __init__(self, exit_codes: list[int | None]) -> None:
        self._exit_codes = exit_codes
        self.children: list[FakeChild] = []
        self.detached: list[str] = []
        self.checks_left = 20

    def attach(self, name: str) -> FakeChild:
        self.children.append(FakeChild(name, self._exit_codes[len(self.children)]))
        return self.children[-1]

    def detach(self, child: FakeChild, *, timeout_seconds: float) -> None:
        self.detached.append(child.name)

    def check(self) -> None:
        self.checks_left -= 1
        if self.checks_left == 0:
            raise KeyboardInterrupt


class FakeWatch:
    def __init__(self, changes: list[bool]) -> None:
        self._changes = changes
        self.closed = False

    def changed(self) -> bool:
        return self._changes.pop(0) if self._changes else False

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dev_session, "_POLL_SECONDS", 0.0)


def session(stack: FakeStack, reference: str | None = "shop:app", *, reload: bool = False) -> DevSession:
    arguments: dict[str, Any] = {"reload": reload, "logs": False, "stdout_is_data": False, "root": Path()}
    return DevSession(stack, reference, **arguments)  # type: ignore[arg-type]


def test_topics_are_applied_before_the_workers_run() -> None:
    stack = FakeStack([0, None])
    with pytest.raises(KeyboardInterrupt):
        session(stack).run()
    assert [child.words for child in stack.children] == [["topics", "apply", "shop:app"], ["run", "shop:app"]]


def test_the_app_is_pointed_at_the_stack() -> None:
    stack = FakeStack([0, None])
    with pytest.raises(KeyboardInterrupt):
        session(stack).run()
    assert stack.children[1].environment["EVENTSOURCE_KAFKA__BOOTSTRAP_SERVERS"] == stack.bootstrap_servers
    assert stack.children[1].environment["EVENTSOURCE_POSTGRES__URL"] == stack.postgres_url


def test_failing_topics_start_no_workers_and_end_the_command_with_their_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stack = FakeStack([4])
    assert session(stack).run() == 4
    assert len(stack.children) == 1
    assert "topics apply ended with exit code 4" in capsys.readouterr().err


def test_workers_that_end_end_the_command_with_their_code() -> None:
    assert session(FakeStack([0, 5])).run() == 5


def test_workers_ended_by_a_signal_give_its_number_as_a_shell_does() -> None:
    assert session(FakeStack([0, -9])).run() == 137


def test_with_reload_failed_workers_are_started_again_after_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = FakeWatch([False, False, False, True])
    monkeypatch.setattr(dev_session, "SourceWatch", lambda root: watch)
    stack = FakeStack([0, 1, 0, None])
    with pytest.raises(KeyboardInterrupt):
        session(stack, reload=True).run()
    assert [child.name for child in stack.children] == ["topics apply", "workers", "topics apply", "workers"]
    assert watch.closed


def test_with_reload_running_workers_are_ended_before_others_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dev_session, "SourceWatch", lambda root: FakeWatch([False, False, True]))
    stack = FakeStack([0, None, 0, None])
    with pytest.raises(KeyboardInterrupt):
        session(stack, reload=True).run()
    assert stack.detached == ["topics apply", "workers", "topics apply"]


def test_without_an_app_it_waits_until_it_is_interrupted() -> None:
    stack = FakeStack([])
    with pytest.raises(KeyboardInterrupt):
        session(stack, None).run()
    assert stack.children == []


def test_a_server_that_dies_ends_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def died() -> None:
        raise EmbeddedStackError("Postgres ended")

    stack = FakeStack([0, None])
    monkeypatch.setattr(stack, "check", died)
    with pytest.raises(EmbeddedStackError, match="Postgres ended"):
        session(stack).run()
