"""Every snippet of every page is run: those that need servers by `tests/integration/test_docs_snippets_on_servers.py`, the others here."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.snippets import ROOT, Page, PageRun, matches, pages, run_page

PAGES = pages()
TESTS = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^ *(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
}
PURE = [page for page in PAGES if page.runs and not page.needs_servers]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_snippet_is_one_that_no_test_runs(page: Page) -> None:
    assert page.problems() == []


@pytest.mark.parametrize("page", PURE, ids=lambda page: page.name)
def test_the_snippets_of_a_page_do_what_it_says(page: Page, tmp_path: Path) -> None:
    run_page(page, tmp_path)


PUBLIC = ("eventsource", "eventsource.errors", "eventsource.testing", "projections")
"""What the pages import of this project, besides the example."""


@pytest.mark.parametrize("page", [page for page in PAGES if page.runs], ids=lambda page: page.name)
def test_a_page_imports_from_the_public_modules_alone(page: Page) -> None:
    for line, module, names in page.imports():
        if module.partition(".")[0] in ("eventsource", "projections", "sagas"):
            assert module in PUBLIC, f"{page.name}:{line} imports from {module}"
            public = vars(importlib.import_module(module)).get("__all__")
            missing = [] if public is None else sorted(set(names) - set(public))
            assert not missing, f"{page.name}:{line} imports what {module} does not offer: {missing}"


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_there(module: str) -> None:
    imported = importlib.import_module(module)
    for name in getattr(imported, "__all__", ()):
        assert getattr(imported, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        imported.nothing  # noqa: B018


def test_the_public_modules_load_no_client_of_a_server_before_it_is_used() -> None:
    code = (
        "import sys, eventsource, eventsource.errors, eventsource.testing; eventsource.RecordedEvent, eventsource.Settings;"
        "print(*sorted({'confluent_kafka', 'psycopg', 'psutil', 'sqlalchemy', 'rocksdict', 'fastavro', 'pytest'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_within_the_project_leads_somewhere(page: Page) -> None:
    prose = re.sub(r"^( *)(`{3,}).*?^\1\2$", "", page.text, flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        found = (page.path.parent / path).resolve() if path else page.path
        assert found.exists(), f"{page.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in anchors, f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_files_and_tests_that_a_page_names_are_there(page: Page) -> None:
    quoted = set(re.findall(r"`([^`\s]+)`", page.text))
    for path in (
        word for word in quoted if re.fullmatch(r"(eventsource|projections|tests|examples|docs|docker)/[\w/.-]+", word)
    ):
        assert (ROOT / path).exists(), f"{page.name} names {path}"
    for test in (word for word in quoted if re.fullmatch(r"test_\w+", word)):
        assert test in TESTS, f"{page.name} names {test}"


def test_every_dependency_has_its_line() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = {re.split(r"[\[><=]", text)[0] for text in [*project["dependencies"], *extras["embedded"], *extras["dev"]]}
    record = (ROOT / "docs/adr/0001-record-decisions-and-dependencies.md").read_text(encoding="utf-8")
    stubs = {"types-psutil", "types-pyyaml"}
    assert {name for name in wanted - stubs - {project["name"]} if name not in record} == set()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("```py\n1\n```\n", "no test runs 'py'"),
        ("```\n1\n```\n", "no test runs"),
        ("~~~ sh\n1\n~~~\n", "no test runs 'sh'"),
        ("1. a list\n\n   ```pycon\n   >>> 1\n   ```\n", "no test runs 'pycon'"),
        ("```python skip\n1\n```\n", "means nothing"),
        ("```console\n1\n```\n", "begins with a command"),
        ("```text output\n1\n```\n", "could have printed it"),
        ("```python from=eventsource/clock.py\nimport nothing\n```\n", "does not say: import nothing"),
        ("```python from=eventsource/nothing.py\nimport nothing\n```\n", "there is no"),
        ("```python file=a.py\n1\n```\n```text output\n1\n```\n", "could have printed it"),
    ],
)
def test_a_snippet_that_nothing_runs_is_a_problem(text: str, problem: str, tmp_path: Path) -> None:
    path = ROOT / "page.md"  # never written: only its name counts
    (tmp_path / "page.md").write_text(text)
    page = Page(path, text, Page.read(tmp_path / "page.md").snippets)
    assert any(problem in found for found in page.problems())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("```python\n1 / 0\n```\n", "division by zero"),
        ("```python\nprint(1)\n```\n```text output\n2\n```\n", "expected"),
        ("```console\n$ echo one\ntwo\n```\n", "expected"),
        ("```console\n$ echo one\n$ exit 3\n```\n", "exit code 3"),
        ("```bash\nfalse\ntrue\n```\n", "exit code 1"),
        ("```console\n$ pip install eventsource-kafka[nothing]\n```\n", "there is no extra"),
        ("```console\n$ make nothing\n```\n", "exit code 2"),
        ("```python file=a.py\n1 +\n```\n", "invalid syntax"),
        ("```python\n1\n", "not closed"),
    ],
)
def test_a_snippet_that_does_something_else_fails(
    text: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tests.snippets.ROOT", tmp_path)
    path = tmp_path / "page.md"
    path.write_text(text)
    with pytest.raises((AssertionError, SyntaxError, ValueError, ZeroDivisionError), match=problem):
        PageRun(Page.read(path)).run()


def test_dots_stand_for_anything_and_widths_do_not_matter() -> None:
    assert matches("a ... c\n│ x │", "a b\nb c\n│   x  │\n")
    assert not matches("a ... c", "a b c d")
    assert matches("┏━━┳━┓", "┏━━━━━┳━━━━┓")


PRODUCTION = ROOT / "docs" / "production.md"


def test_every_log_event_is_explained() -> None:
    sources = [
        path.read_text(encoding="utf-8")
        for name in ("eventsource", "projections")
        for path in (ROOT / name).rglob("*.py")
    ]
    logged = {name for text in sources for name in re.findall(r'_log\.(?:info|warning|error)\(\s*"(\w+)"', text)}
    assert len(logged) > 20
    explained = set(re.findall(r"`(\w+)`", PRODUCTION.read_text(encoding="utf-8")))
    assert logged - explained == set()


@pytest.mark.parametrize("module", ["exit_codes", "values"])
def test_the_tables_of_the_command_line_are_those_of_the_code(module: str) -> None:
    text = importlib.import_module(f"eventsource.cli.{module}").__doc__
    assert text is not None
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) > 8
    assert "\n".join(rows) in (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


def test_blocks_of_one_file_are_its_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.py").write_text("left_over = True\n")
    text = "```python file=a.py\nONE = 1\n```\n```python file=a.py\nTWO = ONE + 1\n```\n```python\nimport a\nprint(a.TWO)\n```\n"
    (tmp_path / "page.md").write_text(f"{text}```text output\n2\n```\n")
    PageRun(Page.read(tmp_path / "page.md")).run()
    assert (tmp_path / "a.py").read_text() == "ONE = 1\n\n\nTWO = ONE + 1\n"
    sys.modules.pop("a")
