from __future__ import annotations

import json
from pathlib import Path

import pytest

from eventsource.cli.main import main


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_writes_an_app_that_python_can_read_and_nothing_else(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["init"]) == 0
    assert [path.name for path in folder.iterdir()] == ["shop.py"]
    text = (folder / "shop.py").read_text(encoding="utf-8")
    compile(text, "shop.py", "exec")
    assert "$" not in text
    assert "eventsource dev shop:shop" in text
    printed = capfd.readouterr().out
    assert "dev shop:shop" in printed
    assert "shop.py" in printed


def test_it_writes_where_it_is_told(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "new/stock.py", "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["app"] == "stock:shop"
    assert told["next"][0] == "cd new"
    assert "stock:shop" in (folder / "new" / "stock.py").read_text(encoding="utf-8")
    assert main(["init", "new"]) == 0
    assert (folder / "new" / "shop.py").exists()


def test_it_overwrites_nothing(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "shop.py").write_text("mine\n")
    assert main(["init"]) == 2
    assert "shop.py is there already and is not overwritten" in capfd.readouterr().err
    assert (folder / "shop.py").read_text() == "mine\n"


@pytest.mark.parametrize("name", ["my-app.py", "class.py", "1.py", "app.txt"])
def test_a_name_that_cannot_be_imported_is_refused(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["init", name]) == 2
    assert "cannot be imported" in capfd.readouterr().err
    assert not Path(name).exists()


def test_a_folder_that_cannot_be_made_is_told(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "file").write_text("")
    assert main(["init", "file/app.py"]) == 2
    assert "cannot be written" in capfd.readouterr().err
