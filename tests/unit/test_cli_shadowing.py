from __future__ import annotations

import sys
from pathlib import Path

import pytest

from eventsource.cli.shadowing import find_shadows


@pytest.fixture(autouse=True)
def nothing_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in ("projections", "sagas")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))


def test_our_own_packages_are_no_shadows() -> None:
    assert find_shadows() == []


@pytest.mark.parametrize("name", ["projections", "sagas"])
@pytest.mark.parametrize("form", ["module", "package"])
def test_a_users_module_or_package_of_our_name_is_noticed(tmp_path: Path, name: str, form: str) -> None:
    path = tmp_path / f"{name}.py" if form == "module" else tmp_path / name / "__init__.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    (shadow,) = find_shadows()
    assert shadow.name == name
    assert str(tmp_path) in str(shadow)
    assert "rename it" in str(shadow)


def test_a_folder_that_is_no_package_shadows_nothing(tmp_path: Path) -> None:
    (tmp_path / "sagas").mkdir()
    assert find_shadows() == []
