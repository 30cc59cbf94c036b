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


def session(
    stack: FakeStack, reference: str | None = "shop:app", *, reload: bool = False, rebuild: bool = False
) -> DevSession:
    arguments: dict[str, Any] = {"reload": reload, "rebuild": rebuild, "logs": False, "stdout_is_data": False}
    return DevSession(stack, reference, root=Path(), **arguments)  # type: ignore[arg-type]


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


@pytest.mark.parametrize(
    ("codes", "says"),
    [
        ([4], "topics apply ended with exit code 4"),
        ([0, 5], "workers ended with exit code 5"),
        ([0, 0], "workers ended with exit code 0"),
        ([0, -9], "workers ended with exit code 137"),
    ],
)
def test_the_servers_go_on_when_the_apps_processes_end_and_the_user_learns_it(
    capsys: pytest.CaptureFixture[str], codes: list[int | None], says: str
) -> None:
    stack = FakeStack(codes)
    with pytest.raises(KeyboardInterrupt):
        session(stack).run()
    assert len(stack.children) == len(codes)
    assert capsys.readouterr().err == (
        f"{says}, Kafka and Postgres go on: start the workers with `eventsource run shop:app` in another terminal, or begin "
        "again after Ctrl-C\n"
    )


def test_what_changed_is_rebuilt_between_topics_and_workers_at_every_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dev_session, "SourceWatch", lambda root: FakeWatch([False, False, False, True]))
    stack = FakeStack([0, 0, None, 0, 0, None])
    with pytest.raises(KeyboardInterrupt):
        session(stack, reload=True, rebuild=True).run()
    once = [["topics", "apply", "shop:app"], ["dev-rebuild", "shop:app"], ["run", "shop:app"]]
    assert [child.words for child in stack.children] == once * 2


def test_after_a_rebuild_that_fails_no_workers_run(capsys: pytest.CaptureFixture[str]) -> None:
    stack = FakeStack([0, 3])
    with pytest.raises(KeyboardInterrupt):
        session(stack, rebuild=True).run()
    assert "rebuild ended with exit code 3" in capsys.readouterr().err


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
