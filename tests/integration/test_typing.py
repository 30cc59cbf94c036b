"""The public types, as users' type checkers see them: `tests/unit/typing` marks each line that must be refused with `# wrong`."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests" / "unit" / "typing"
FILES = sorted(CASES.glob("*.py"))


def test_the_account_of_the_guide_runs() -> None:
    definition = runpy.run_path(str(CASES / "account.py"))["Account"].__definition__
    assert list(definition.commands) == ["open-account", "deposit", "withdraw"]


def marked(checker: str) -> set[tuple[str, int]]:
    marks = ("# wrong", f"# wrong for {checker}")
    lines = (
        (file.name, number, line) for file in FILES for number, line in enumerate(file.read_text().splitlines(), 1)
    )
    return {(name, number) for name, number, line in lines if line.endswith(marks)}


def told(expected: set[tuple[str, int]], found: set[tuple[str, int]], output: str) -> str:
    missed, invented = sorted(expected - found), sorted(found - expected)
    return f"not refused: {missed}\nrefused, but right: {invented}\n{output}"


def test_mypy_refuses_what_is_wrong_and_nothing_else() -> None:
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file",
        str(ROOT / "pyproject.toml"),
        "--no-error-summary",
        *map(str, FILES),
    ]
    environment = {**os.environ, "MYPYPATH": os.pathsep.join([str(ROOT), str(CASES)])}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    errors = re.findall(r"^tests[/\\]unit[/\\]typing[/\\](\w+\.py):(\d+): error:", run.stdout, re.MULTILINE)
    found = {(name, int(line)) for name, line in errors}
    assert run.returncode in (0, 1), run.stdout + run.stderr
    assert found == marked("mypy"), told(marked("mypy"), found, run.stdout + run.stderr)


def test_pyright_refuses_what_is_wrong_and_nothing_else(tmp_path: Path) -> None:
    settings = {
        "typeCheckingMode": "strict",
        "include": [str(CASES)],
        "extraPaths": [str(ROOT), str(CASES)],
        "pythonVersion": "3.11",
        # of unused classes and functions, which the cases are made of
        "reportUnusedClass": "none",
        "reportUnusedFunction": "none",
    }
    project = tmp_path / "pyrightconfig.json"
    project.write_text(json.dumps(settings))
    command = [
        sys.executable,
        "-m",
        "basedpyright",
        "--outputjson",
        "--pythonpath",
        sys.executable,
        "--project",
        str(project),
    ]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    diagnostics = json.loads(run.stdout)["generalDiagnostics"]
    found = {(Path(item["file"]).name, item["range"]["start"]["line"] + 1) for item in diagnostics}
    assert found == marked("pyright"), told(marked("pyright"), found, json.dumps(diagnostics, indent=1))
