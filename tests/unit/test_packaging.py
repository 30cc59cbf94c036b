from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = ("runtime", "demo", "dev")


def lock(name: str) -> str:
    return (ROOT / "requirements" / f"{name}.lock").read_text(encoding="utf-8")


def pins(name: str) -> dict[str, str]:
    """Each package and its version; of one that differs between Python versions, that for the newest."""
    return {match[1]: match[2] for match in re.finditer(r"^([a-z0-9-]+)==(\S+)", lock(name), re.MULTILINE)}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    document: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return document


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_of_a_lock_is_pinned_and_hashed(name: str) -> None:
    entries = re.split(r"^(?=[a-z0-9])", lock(name), flags=re.MULTILINE)[1:]
    assert entries
    assert [entry.split()[0] for entry in entries if not re.match(r"[a-z0-9-]+==\S+", entry)] == []
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_no_address_and_no_path_of_the_machine_it_was_made_on(name: str) -> None:
    assert re.findall(r"https?:|--index|--find-links|(?<![\w.])/\w+/", lock(name)) == []


def test_the_locks_agree_with_each_other() -> None:
    everything = pins("dev")
    assert pins("demo").items() <= everything.items()
    assert pins("runtime").items() <= pins("demo").items()


def test_the_locks_hold_what_the_project_asks_for(project: dict[str, Any]) -> None:
    extras = project["optional-dependencies"]
    for name, wanted in (
        ("runtime", project["dependencies"]),
        ("demo", [*project["dependencies"], *extras["embedded"]]),
        ("dev", [*project["dependencies"], *extras["embedded"], *extras["dev"]]),
    ):
        asked = {re.split(r"[^\w.-]", line)[0].lower() for line in wanted} - {project["name"]}
        assert asked - set(pins(name)) == set(), f"requirements/{name}.lock: run `make lock`"


def test_every_entry_point_is_there(project: dict[str, Any]) -> None:
    groups = [project["scripts"], *project["entry-points"].values()]
    for value in [value for group in groups for value in group.values()]:
        module, _, attribute = value.partition(":")
        found = importlib.import_module(module)
        assert not attribute or hasattr(found, attribute), value


def test_ci_runs_the_command_of_the_readme() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    text = script.read_text(encoding="utf-8")
    assert "set -euo pipefail" in text
    assert "make test" in text
    assert "make test" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_license_is_the_one_that_is_named(project: dict[str, Any]) -> None:
    assert project["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_compiled_modules_make_tuples_by_one_piece_of_code() -> None:
    """`native_tuples.pxd` knows what a new tuple needs on each version of CPython; a copy would not learn of the next change."""
    sources = [file for file in (ROOT / "eventsource").rglob("native_*.p*") if "PyTuple_SET_ITEM" in file.read_text()]
    assert [file.name for file in sources] == ["native_tuples.pxd"]
