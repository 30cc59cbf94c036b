"""Which files count as the app's source."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventsource.cli.source_watch import folders, snapshot


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in (
        "bank/__init__.py",
        "bank/account.py",
        "main.py",
        ".venv/lib/x.py",
        ".eventsource/kafka/x.py",
        "build/y.py",
        "README.md",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return tmp_path


def test_the_servers_data_and_installed_packages_are_not_watched(project: Path) -> None:
    assert [path.name for path in folders(project)] == ["bank"]
    assert {str(path.relative_to(project)) for path in snapshot(project)} == {
        "bank/__init__.py",
        "bank/account.py",
        "main.py",
    }
