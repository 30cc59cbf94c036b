"""What holds for every verb: where the app stands, `--json`, help that is not cut, prompts, errors, completion."""

from __future__ import annotations

import json
import logging
import os
import pty
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import typer

from eventsource.cli.completion import join_colons
from eventsource.cli.main import build, main
from eventsource.cli.output import Invocation

ROOT: Any = typer.main.get_command(build(Invocation()))
WITHOUT_APP = {"init", "config show", "config reference"}
SECONDS = 60.0


def groups(command: Any = ROOT, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if hasattr(command, "commands"):
        yield path, command
        for name, one in command.commands.items():
            yield from groups(one, (*path, name))


def verbs() -> dict[str, Any]:
    return {
        " ".join((*path, name)): one
        for path, group in groups()
        for name, one in group.commands.items()
        if not hasattr(one, "commands") and not one.hidden
    }


@pytest.fixture(autouse=True)
def a_shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in [name for name in os.environ if name.upper().startswith("EVENTSOURCE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    root, structured = logging.getLogger(), structlog.get_config()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.configure(**structured)


def test_the_verbs_are_those_that_this_file_knows() -> None:
    assert {"send", "run", "dev", "doctor", "events tail", "topics plan", "projections rebuild"} <= verbs().keys()


@pytest.mark.parametrize("verb", sorted(verbs()))
def test_every_verb_takes_the_app_first_and_json(verb: str) -> None:
    parameters = verbs()[verb].params
    options = {option for parameter in parameters for option in parameter.opts}
    assert "--json" in options
    assert "--app" not in options
    arguments = [parameter for parameter in parameters if parameter.param_type_name == "argument"]
    if verb not in WITHOUT_APP:
        assert str(arguments[0].metavar).startswith("[MODULE:APP]")


@pytest.mark.parametrize("verb", sorted(verbs().keys() - {"init", "config show", "config reference"}))
@pytest.mark.parametrize("named", [True, False])
def test_an_app_that_cannot_be_loaded_is_one_object_and_2_in_every_verb(
    capfd: pytest.CaptureFixture[str], verb: str, named: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    after = {
        "send": ["item", "7", "sell"],
        "events show": ["item", "7"],
        "state show": ["item", "7"],
        "projections rebuild": ["stock"],
        "dev": ["--brokers", "2"],
    }
    monkeypatch.setenv("EVENTSOURCE_APP", "no_such_module:from_env")
    reference = ["no_such_module:app"] if named else []
    assert main([*verb.split(), *reference, *after.get(verb, []), "--json"]) == 2
    printed = capfd.readouterr()
    assert printed.out == ""
    error = json.loads(printed.err)
    assert (error["event"], error["level"], error["exit_code"]) == ("command_failed", "error", 2)
    if verb != "dev":
        assert error["class"] == "SettingsError"
        assert error["message"].startswith("argument MODULE:APP" if named else "EVENTSOURCE_APP")


@pytest.mark.parametrize("verb", [*sorted(verbs()), "no-such-verb"])
def test_wrong_usage_of_any_verb_is_one_object_and_2(
    capfd: pytest.CaptureFixture[str], verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENTSOURCE_LOG_FORMAT", "text")  # as on a terminal: --json decides
    assert main([*verb.split(), "--no-such-option", "--json"]) == 2
    error = json.loads(capfd.readouterr().err)
    assert (error["class"], error["exit_code"]) == ("UsageError", 2)


@pytest.mark.parametrize("width", [80, 60])
@pytest.mark.parametrize("path", [path for path, _ in groups()], ids=" ".join)
def test_no_summary_is_cut(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, path: tuple[str, ...], width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert main([*path, "--help"]) == 0
    printed = capfd.readouterr().out
    assert "..." not in printed.partition("Commands:")[2]
    assert all(len(line) <= 80 for line in printed.splitlines())
    text = " ".join(printed.split())
    for command in dict(groups())[path].commands.values():
        assert command.hidden or " ".join(command.get_short_help_str(10_000).split()) in text


# --- prompts -----------------------------------------------------------------------------------------------------


def at_a_terminal(folder: Path, arguments: list[str], typed: bytes) -> tuple[int, str]:
    """Runs a command at a terminal of its own and types when it asks. Its exit code, and what the screen shows."""
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover
        os.chdir(folder)
        os.execv(sys.executable, [sys.executable, "-m", "eventsource", *arguments])
    screen = b""
    try:
        while True:
            ready, _, _ = select.select([terminal], [], [], SECONDS)
            assert ready, screen
            try:
                read = os.read(terminal, 1_000)
            except OSError:  # Linux's way to say that the other side is closed
                break
            if not read:
                break
            screen += read
            if typed and b"[y/N]: " in screen:
                os.write(terminal, typed)
                typed = b""
    finally:
        os.close(terminal)
        _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), screen.decode()


@pytest.mark.parametrize(
    ("typed", "code", "says"),
    [
        (b"n\n", 6, "stock is left as it is"),
        (b"\n", 6, "stock is left as it is"),
        (b"\x04", 6, "stock is left as it is"),
        (b"maybe\nno\n", 6, "answer y or n"),
        (b"\x03", 130, "interrupted"),
    ],
)
def test_no_at_a_prompt_is_no_interruption(tmp_path: Path, typed: bytes, code: int, says: str) -> None:
    assert main(["init"]) == 0
    ended, screen = at_a_terminal(tmp_path, ["projections", "rebuild", "shop:shop", "stock"], typed)
    assert ended == code, screen
    assert says in screen
    assert ("interrupted" in screen) == (code == 130)
    assert "Traceback" not in screen


# --- completion --------------------------------------------------------------------------------------------------


def offered(words: list[str], current: int, **variables: str) -> list[str]:
    """What bash would offer: it gives the words with each colon as one of its own."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("EVENTSOURCE_")},
        "_EVENTSOURCE_COMPLETE": "complete_bash",
        "COMP_WORDS": "\n".join(words),
        "COMP_CWORD": str(current),
        **variables,
    }
    done = subprocess.run(
        [sys.executable, "-m", "eventsource"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offers"),
    [
        (["eventsource", "pro"], ["projections"]),
        (["eventsource", "run", "sh"], ["shop:shop"]),
        (["eventsource", "run", "shop", ":"], ["shop"]),
        (["eventsource", "run", "shop", ":", "sh"], ["shop"]),
        (["eventsource", "events", "show", "shop", ":", "shop", ""], ["item"]),
        (["eventsource", "send", "shop", ":", "shop", "item", "7", "re"], ["receive", "register"]),
        (["eventsource", "projections", "rebuild", "shop", ":", "shop", "st"], ["stock"]),
        (["eventsource", "send", "broken", ":", "app", "it"], []),
    ],
)
def test_the_shell_offers_verbs_apps_aggregates_commands_and_projections(
    tmp_path: Path, words: list[str], offers: list[str]
) -> None:
    assert main(["init"]) == 0
    (tmp_path / "broken.py").write_text("print('noise')\nraise RuntimeError\n")
    assert offered(words, len(words) - 1) == offers


def test_with_an_app_in_the_environment_its_aggregates_are_offered(tmp_path: Path) -> None:
    assert main(["init"]) == 0
    assert "item" in offered(["eventsource", "state", "show", ""], 3, EVENTSOURCE_APP="shop:shop")


@pytest.mark.parametrize(
    ("words", "current", "joined"),
    [
        ("a\nb", 1, ("a\nb", 1, "")),
        ("e\nrun\nm\n:\napp", 4, ("e\nrun\nm:app", 2, "m:")),
        ("e\nrun\nm\n:", 3, ("e\nrun\nm:", 2, "m:")),
        ("e\nshow\nm\n:\napp\nit", 5, ("e\nshow\nm:app\nit", 3, "")),
        ("e\nshow\nm\n:\napp\n", 5, ("e\nshow\nm:app\n", 3, "")),
    ],
)
def test_a_word_that_bash_split_at_its_colon_is_one(words: str, current: int, joined: tuple[str, int, str]) -> None:
    assert join_colons(words, current) == joined


def test_the_script_for_the_shell_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--show-completion", "bash"]) == 0
    assert "complete -o default -F _eventsource_completion eventsource" in capfd.readouterr().out
