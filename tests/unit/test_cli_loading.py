from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventsource import App
from eventsource.cli.loading import load_app
from eventsource.errors import DefinitionError, SettingsError

APP = "from eventsource import App\nshop = App('shop', aggregates=[])\nother = 3\nclass Box: inner = shop\n"


@pytest.fixture(autouse=True)
def imports_undone() -> Iterator[None]:
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def write(folder: Path, name: str, text: str = APP) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def error(reference: str | None, folder: Path, environment: dict[str, str] | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        load_app(reference, environment or {}, folder)
    return str(caught.value)


def test_an_app_is_loaded_from_a_module_in_the_folder(tmp_path: Path) -> None:
    write(tmp_path, "load_a.py")
    found = load_app("load_a:shop", {}, tmp_path)
    assert isinstance(found, App)
    assert found.name == "shop"


def test_an_app_may_be_in_a_package_and_inside_of_an_object(tmp_path: Path) -> None:
    write(tmp_path, "load_pkg/deep.py")
    assert load_app("load_pkg.deep:Box.inner", {}, tmp_path).name == "shop"


def test_the_argument_goes_before_the_environment_and_that_before_pyproject(tmp_path: Path) -> None:
    for name in ("argued", "environed", "projected"):
        write(tmp_path, f"load_{name}.py", f"from eventsource import App\napp = App('{name}', aggregates=[])\n")
    write(tmp_path, "pyproject.toml", '[tool.eventsource]\napp = "load_projected:app"\n')
    environment = {"EVENTSOURCE_APP": "load_environed:app"}
    assert load_app("load_argued:app", environment, tmp_path).name == "argued"
    assert load_app(None, environment, tmp_path).name == "environed"
    assert load_app(None, {}, tmp_path).name == "projected"


def test_no_reference_anywhere_names_all_three_places(tmp_path: Path) -> None:
    write(tmp_path, "pyproject.toml", "[project]\nname = 'x'\n")
    text = error(None, tmp_path)
    assert "no app was named" in text
    assert "EVENTSOURCE_APP" in text
    assert "pyproject.toml" in text


@pytest.mark.parametrize("reference", ["shop", "shop:", ":shop"])
def test_a_reference_without_module_or_app_is_refused(tmp_path: Path, reference: str) -> None:
    assert "write MODULE:APP" in error(reference, tmp_path)


def test_the_place_of_a_wrong_reference_is_named(tmp_path: Path) -> None:
    assert error(None, tmp_path, {"EVENTSOURCE_APP": "shop"}).startswith("EVENTSOURCE_APP: ")


def test_a_module_that_is_not_there(tmp_path: Path) -> None:
    assert "there is no module 'load_missing'" in error("load_missing:app", tmp_path)


def test_a_package_without_that_module(tmp_path: Path) -> None:
    write(tmp_path, "load_pkg2/__init__.py", "")
    assert "there is no module 'load_pkg2.missing'" in error("load_pkg2.missing:app", tmp_path)


def test_an_import_error_inside_of_the_module_is_told_apart(tmp_path: Path) -> None:
    write(tmp_path, "load_b.py", "import load_not_installed\n")
    text = error("load_b:app", tmp_path)
    assert "module load_b imports 'load_not_installed', which is not there" in text


def test_a_module_that_fails_on_import_is_told_with_its_error(tmp_path: Path) -> None:
    write(tmp_path, "load_c.py", "raise RuntimeError('no database')\n")
    assert "module load_c fails on import with RuntimeError: no database" in error("load_c:app", tmp_path)


def test_a_syntax_error_is_told_with_its_place(tmp_path: Path) -> None:
    write(tmp_path, "load_d.py", "def f(:\n")
    text = error("load_d:app", tmp_path)
    assert "SyntaxError" in text
    assert "line 1" in text


def test_a_mistake_in_the_definitions_keeps_its_own_error(tmp_path: Path) -> None:
    write(tmp_path, "load_e.py", "from eventsource import App\napp = App('Not A Name', aggregates=[])\n")
    with pytest.raises(DefinitionError, match="Not A Name"):
        load_app("load_e:app", {}, tmp_path)


def test_a_missing_attribute_names_the_apps_that_are_there(tmp_path: Path) -> None:
    write(tmp_path, "load_f.py")
    assert "load_f has no sohp (it has load_f:shop)" in error("load_f:sohp", tmp_path)


def test_something_that_is_no_app_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "load_g.py")
    assert "load_g:other is of type int, not an App (it has load_g:shop)" in error("load_g:other", tmp_path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[tool.eventsource\n", "cannot be read as TOML"),
        ("[tool.eventsource]\napp = 3\n", "is not a text"),
        ("[tool]\neventsource = 'x'\n", "is not a text"),
    ],
)
def test_a_wrong_pyproject_is_told(tmp_path: Path, text: str, reason: str) -> None:
    write(tmp_path, "pyproject.toml", text)
    assert reason in error(None, tmp_path)


def test_a_module_that_shadows_ours_is_named_when_an_import_fails_over_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "projections.py", "x = 1\n")
    write(tmp_path, "load_h.py", "from projections import Projection\n")
    for name in [name for name in sys.modules if name.partition(".")[0] == "projections"]:
        monkeypatch.delitem(sys.modules, name)
    text = error("load_h:app", tmp_path)
    assert "hides the framework's own package 'projections'" in text
    assert "rename it" in text
