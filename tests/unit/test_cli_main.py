from __future__ import annotations

import importlib
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from eventsource.cli.main import main
from eventsource.errors import BrokerUnavailable, ForkDetected

# `eventsource.cli.config` is a module and `eventsource.cli.main` shares its name with a function.
config = importlib.import_module("eventsource.cli.config")


@pytest.fixture(autouse=True)
def a_shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in [name for name in os.environ if name.upper().startswith("EVENTSOURCE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("EVENTSOURCE_LOG_FORMAT", "text")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    root, structured = logging.getLogger(), structlog.get_config()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.configure(**structured)


def failing_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(config, "load_settings", fail)


def test_data_is_on_stdout_and_nothing_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "--json"]) == 0
    printed = capfd.readouterr()
    assert json.loads(printed.out)["settings"]["kafka"]["bootstrap_servers"] == "127.0.0.1:9092"
    assert printed.err == ""


def test_config_show_names_where_each_value_comes_from_and_no_secret(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("EVENTSOURCE_NAMESPACE=staging\n")
    monkeypatch.setenv("EVENTSOURCE_KAFKA__CLIENT__SASL_PASSWORD", "hunter2")
    monkeypatch.setenv("EVENTSOURCE_KAFKA__CLIENT__SASL_USERNAME", "me")
    monkeypatch.setenv("EVENTSOURCE_POSTGRES__URL", "postgresql://me:hunter2@host/db?password=hunter2")
    assert main(["config", "show"]) == 0
    table = capfd.readouterr().out
    assert main(["config", "show", "--json"]) == 0
    document = capfd.readouterr().out
    assert "hunter2" not in table + document
    rows = {
        cells[1].strip(): (cells[2].strip(), cells[3].strip())
        for line in table.splitlines()
        if len(cells := line.split("│")) > 3
    }
    assert rows["EVENTSOURCE_NAMESPACE"] == ("staging", ".env")
    assert rows["EVENTSOURCE_KAFKA__CLIENT__SASL_USERNAME"] == ("me", "environment")
    assert rows["EVENTSOURCE_KAFKA__CLIENT__SASL_PASSWORD"] == ("**********", "environment")
    assert rows["EVENTSOURCE_WORKER__BATCH_SIZE"] == ("10000", "default")
    assert json.loads(document)["sources"]["EVENTSOURCE_NAMESPACE"] == ".env"


def test_config_reference_prints_the_page(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "reference"]) == 0
    assert capfd.readouterr().out.startswith("# Settings\n")


def test_one_of_our_errors_is_one_sentence_and_its_own_code(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_with(monkeypatch, ForkDetected("account 'a': version 3 follows version 1"))
    assert main(["config", "show"]) == 5
    assert capfd.readouterr().err == "error: account 'a': version 3 follows version 1\n"


def test_a_password_in_an_error_is_not_printed(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_with(monkeypatch, BrokerUnavailable("nobody at postgresql://me:hunter2@host/db"))
    assert main(["config", "show"]) == 3
    assert "hunter2" not in capfd.readouterr().err


def test_an_unexpected_error_is_one_sentence_that_points_to_debug(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_with(monkeypatch, ZeroDivisionError("oops"))
    assert main(["config", "show"]) == 1
    printed = capfd.readouterr().err
    assert printed.startswith("error: unexpected ZeroDivisionError: oops: run it again with --debug")
    assert printed.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--debug", "config", "show"], ["config", "show", "--debug"]])
def test_debug_shows_the_traceback_wherever_it_stands(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    failing_with(monkeypatch, ZeroDivisionError("oops \x1b[2J"))
    assert main(arguments) == 1
    printed = capfd.readouterr().err
    assert "Traceback (most recent call last)" in printed
    assert printed.count("\n") > 5
    assert "\x1b" not in printed, "an error's text cannot steer the terminal"


def test_ctrl_c_is_no_error_but_130(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    failing_with(monkeypatch, KeyboardInterrupt())
    assert main(["config", "show"]) == 130
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["config", "show", "--bad"], "No such option: --bad"),
        (["confg"], "No such command 'confg'"),
        (["config"], "Missing command"),
        (["--log-level", "loud", "config", "show"], "'loud' is not a level"),
        (["events", "show"], "Missing argument"),
        (["run", "a:b", "--health-port", "70000"], "'--health-port'"),
    ],
)
def test_wrong_usage_is_one_sentence_and_2(capfd: pytest.CaptureFixture[str], arguments: list[str], says: str) -> None:
    assert main(arguments) == 2
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert says in printed.err
    assert "--help" in printed.err
    assert printed.err.count("\n") == 1


def test_no_command_shows_the_help_and_is_wrong_usage(capfd: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "Commands:" in capfd.readouterr().out


def test_the_version_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capfd.readouterr().out.startswith("eventsource 0.")


def test_a_package_that_shadows_ours_is_told_at_start(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "sagas.py").write_text("")
    assert main(["config", "reference"]) == 0
    printed = capfd.readouterr()
    assert printed.err.startswith("warning: ")
    assert "hides the framework's own package 'sagas'" in printed.err
    assert printed.out.startswith("# Settings")


def test_events_tail_takes_one_app_and_one_aggregate(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["events", "tail", "a:b", "one", "two"]) == 2
    assert "takes one app and one aggregate" in capfd.readouterr().err


def test_an_unknown_aggregate_is_told_with_those_there_are(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "main_a.py").write_text("from eventsource import App\nshop = App('shop', aggregates=[])\n")
    assert main(["events", "show", "main_a:shop", "account", "1"]) == 2
    assert "app 'shop' has no aggregate 'account': give it one with aggregates=[…]" in capfd.readouterr().err


@pytest.fixture
def shop(tmp_path: Path) -> None:
    (tmp_path / "main_c.py").write_text(
        "from eventsource import App\nfrom tests.creatable import Creatable\n\n\nclass Wallet(Creatable, name='wallet'):\n    pass\n\n\n"
        "shop = App('shop', aggregates=[Wallet])\n"
    )


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("command", ["events", "state"])
@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            ["main_c:shop", "wallet"],
            "the id of the wallet is missing: write `eventsource {} show MODULE:APP AGGREGATE ID`",
        ),
        (["wallet"], "the id of the wallet is missing"),
        (["main_c:shop"], "aggregate and id are missing"),
        (["main_c:shop", "wallet", "7", "8"], "nothing more"),
        (["wallet", "7", "main_c:shop"], "nothing more"),
        (["main_c:shop", "purse", "7"], "app 'shop' has no aggregate 'purse': choose among wallet"),
        (["main_c:shop", "purse", "a:b"], "app 'shop' has no aggregate 'purse'"),
        (["purse", "a:b"], "no app was named"),
    ],
)
def test_an_app_an_aggregate_and_an_id_are_told_apart_alike_everywhere(
    capfd: pytest.CaptureFixture[str], command: str, words: list[str], text: str
) -> None:
    assert main([command, "show", *words]) == 2
    assert text.format(command) in capfd.readouterr().err


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--at-time", "2026-01-01"], "--at-time '2026-01-01' has no time zone: write it as 2026-01-31T12:00:00Z"),
        (["--at-time", "yesterday"], "--at-time 'yesterday' is not a time: write it as 2026-01-31T12:00:00Z"),
        (["--at-version", "1", "--at-time", "2026-01-31T12:00:00Z"], "give --at-version or --at-time, not both"),
    ],
)
def test_what_state_show_cannot_look_up_is_told_by_its_option(
    capfd: pytest.CaptureFixture[str], options: list[str], text: str
) -> None:
    assert main(["state", "show", "main_c:shop", "wallet", "7", *options]) == 2
    assert text in capfd.readouterr().err


def test_run_offers_only_what_there_is(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--help"]) == 0
    printed = capfd.readouterr().out
    assert "projections" in printed
    assert "sagas" not in printed
    assert "reactors" not in printed


def test_run_refuses_a_choice_that_fits_nothing(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "main_b.py").write_text("from eventsource import App\nshop = App('shop', aggregates=[])\n")
    assert main(["run", "main_b:shop", "--only", "sagas"]) == 2
    assert "--only sagas" in capfd.readouterr().err


def test_nothing_is_rebuilt_unasked_where_nobody_can_be_asked(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "unasked.py"]) == 0
    capfd.readouterr()
    assert main(["projections", "rebuild", "unasked:shop", "stock"]) == 2
    assert capfd.readouterr().err == (
        "error: rebuilding stock empties its table, and there is no terminal to ask at: give --yes to do it without asking\n"
    )
