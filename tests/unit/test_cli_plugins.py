from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest
import typer

from eventsource.cli.plugins import GROUP, add_plugins
from eventsource.errors import SettingsError


def root_with(monkeypatch: pytest.MonkeyPatch, **attributes: object) -> typer.Typer:
    module = ModuleType("plugin_under_test")
    vars(module).update(attributes)
    monkeypatch.setitem(sys.modules, "plugin_under_test", module)
    root = typer.Typer()
    root.callback()(lambda: None)
    return root


def entry_point(name: str, attribute: str = "app", module: str = "plugin_under_test") -> EntryPoint:
    return EntryPoint(name, f"{module}:{attribute}", GROUP)


def run(root: typer.Typer, *arguments: str) -> object:
    return typer.main.get_command(root).main(list(arguments), prog_name="eventsource", standalone_mode=False)


def test_a_plugin_adds_its_verb(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin, called = typer.Typer(), []
    plugin.callback()(lambda: None)
    plugin.command("list")(lambda: called.append("list"))
    root = root_with(monkeypatch, app=plugin)
    assert add_plugins(root, [entry_point("things")], ()) == []
    run(root, "things", "list")
    assert called == ["list"]


def test_a_plugin_that_cannot_be_imported_breaks_its_own_verb_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    root, called = root_with(monkeypatch), []
    root.command("fine")(lambda: called.append("fine"))
    (problem,) = add_plugins(root, [entry_point("broken", module="plugin_not_there")], ())
    assert "'broken' is not available" in problem
    assert "plugin_not_there" in problem
    run(root, "fine")
    assert called == ["fine"]
    with pytest.raises(SettingsError) as caught:
        run(root, "broken", "list", "--json")
    assert str(caught.value) == problem


def test_a_plugin_that_is_no_typer_app_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    root = root_with(monkeypatch, app=3)
    (problem,) = add_plugins(root, [entry_point("broken")], ())
    assert "it is of type int, not a typer.Typer" in problem


def test_a_plugin_cannot_take_the_place_of_another_verb(monkeypatch: pytest.MonkeyPatch) -> None:
    root = root_with(monkeypatch, app=typer.Typer())
    (problem,) = add_plugins(root, [entry_point("run")], ("run",))
    assert "'run', which is taken" in problem


def test_of_two_plugins_with_one_verb_the_first_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    root = root_with(monkeypatch, app=typer.Typer())
    (problem,) = add_plugins(root, [entry_point("things"), entry_point("things")], ())
    assert "which is taken" in problem
