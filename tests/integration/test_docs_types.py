"""The Python snippets of all pages, as a reader's type checkers see them: in one run of each, without any plugin."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.snippets import ROOT, Page, pages

# Django has no types of its own: its decorators are untyped, and whatever comes out of it is unknown.
MYPY = """
[mypy]
strict = True
python_version = 3.11
follow_imports = silent
[mypy-django.*]
ignore_missing_imports = True
[mypy-page_docs_django.*]
disallow_untyped_decorators = False
"""
PYRIGHT = {"typeCheckingMode": "standard", "pythonVersion": "3.11", "exclude": ["page_docs_django"]}


def write(folder: Path, found: list[Page]) -> None:
    for page in found:
        for path, text in page.modules().items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            for parent in path.parents:
                if parent != Path():
                    (folder / parent / "__init__.py").touch()


def mypy(folder: Path) -> str:
    (folder / "mypy.ini").write_text(MYPY)
    run = subprocess.run(
        [
            sys.executable,
            *("-m", "mypy", "--config-file", "mypy.ini", "--no-error-summary"),
            *("--cache-dir", str(ROOT / ".mypy_cache" / "pages"), "."),
        ],
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode in (0, 1), run.stdout + run.stderr
    return run.stdout


def pyright(folder: Path) -> list[str]:
    project = folder / "pyrightconfig.json"
    project.write_text(json.dumps({**PYRIGHT, "include": ["."], "extraPaths": [str(ROOT)]}))
    run = subprocess.run(
        [
            sys.executable,
            *("-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable, "--project", str(project)),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    report = json.loads(run.stdout)
    assert report["summary"]["filesAnalyzed"] > 10
    return [
        f"{Path(item['file']).relative_to(folder.resolve())}:{item['range']['start']['line'] + 1}: {item['message']}"
        for item in report["generalDiagnostics"]
        if item["severity"] == "error"
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pages")
    write(made, [page for page in pages() if page.runs])
    assert len(list(made.rglob("*.py"))) > 20
    return made


def test_mypy_finds_nothing_in_the_snippets_of_the_pages(folder: Path) -> None:
    assert mypy(folder) == "", "page_x_y/page.py has the lines of the page x/y.md"


def test_pyright_finds_nothing_in_the_snippets_of_the_pages(folder: Path) -> None:
    assert pyright(folder) == []


WRONG = """```python file=settings.py
from eventsource import Settings

SETTINGS = Settings(namespace="a")
```

```python
from settings import SETTINGS
from examples.bank import Account, bank

bank.connect(SETTINGS).send(Account, "7", "deposit")
```
"""


def test_a_snippet_with_a_wrong_type_is_found_at_its_line(tmp_path: Path) -> None:
    (tmp_path / "wrong.md").write_text(WRONG)
    snippets = Page.read(tmp_path / "wrong.md").snippets
    write(tmp_path, [Page(ROOT / "wrong.md", WRONG, snippets)])
    assert mypy(tmp_path).startswith("page_wrong/page.py:11: error: ")
    assert mypy(tmp_path).count("error:") == 1
