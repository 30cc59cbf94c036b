"""What a user sees of a failed test: its own lines and the domain's, not the framework's."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOMAIN = """
from eventsource import Aggregate, App, Command, Event, Rejected, applies, creates, decides
from eventsource.testing import TestApp, given
from projections import Projection, ReadModel, projects
from sqlalchemy.orm import Mapped, mapped_column

class Stock(Command, name="stock"):
    count: int

class Sell(Command, name="sell"):
    count: int

class Stocked(Event, name="stocked"):
    count: int

class Sold(Event, name="sold"):
    count: int

class SoldOut(Rejected, code="sold_out"):
    left: int

class Item(Aggregate, name="item"):
    left: int

    @creates
    @classmethod
    def stock(cls, command: Stock) -> Stocked:
        return Stocked(count=command.count)

    @creates
    @classmethod
    def on_stocked(cls, event: Stocked) -> "Item":
        return cls(left=event.count)

    @decides
    def sell(self, command: Sell) -> Sold:
        if command.count == 13:
            raise RuntimeError("unlucky")
        if command.count > self.left:
            raise SoldOut(left=self.left)
        return Sold(count=command.count)

    @applies
    def on_sold(self, event: Sold) -> None:
        self.left -= event.count

class Level(ReadModel):
    __tablename__ = "levels"
    id: Mapped[str] = mapped_column(primary_key=True)

class Levels(Projection[Level], name="levels"):
    @projects
    def on_sold(self, event: Sold, row: Level) -> None:
        if event.count == 2:
            raise RuntimeError("bad luck")
"""
TEST = """
def test_{number}(monkeypatch):
    app = TestApp(App("shop", aggregates=[Item], consumers=[Levels]))
    app.send(Item, "a", Stock(count=20))
    {line}
"""
DEFECT = 'monkeypatch.setattr("eventsource.testing.app.key_of", len) or app.send(Item, "a", Sell(count=1))'
# What the test goes on with, what must be shown, and the most lines of it.
CASES = [
    ('app.send(Item, "a", Sell(count=21))', ["SoldOut: sold_out: left=20"], 12),
    (
        'app.send(Item, "a", Sell(count=13))',
        ['>           raise RuntimeError("unlucky")', "HandlerFailed: command"],
        28,
    ),
    (
        'app.send(Item, "a", Sell(count=2))',
        ['>           raise RuntimeError("bad luck")', "ProjectionFailed: projection"],
        28,
    ),
    ('app.send(Item, "a", Sell(count=1), expected_version=9)', ["VersionConflict: a: expected version 9, found 1"], 12),
    ('app.send(Item, "b", Sell(count=1))', ["NotFound: item 'b' does not exist"], 12),
    ("app.send(Item, 7, Sell(count=1))", ["InvalidArgument: "], 12),
    ('app.append(Item, "a", [Sold(count=1)], expected_version=9)', ["VersionConflict: a: expected"], 12),
    ('app.load(Item, "b")', ["NotFound: item 'b' does not exist"], 12),
    ("given(Item, Stocked(count=3)).when(Sell(count=13)).then()", ['>           raise RuntimeError("unlucky")'], 24),
    ("given(Item, Stocked(count=3)).when(Sell(count=1)).then()", ["+ Sold(count=1)"], 20),
]


def failures(folder: Path, lines: list[str], *options: str) -> list[str]:
    """What pytest shows of tests that end with these lines, one text a test."""
    tests = [TEST.format(number=number, line=line) for number, line in enumerate(lines)]
    (folder / "test_shop.py").write_text("\n".join([DOMAIN, *tests]))
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, "test_shop.py"],
        cwd=folder,
        env={"PATH": "", "PYTHONPATH": str(ROOT), "COLUMNS": "150"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 1, run.stdout + run.stderr
    _, *found = re.split(r"^_+ test_\d+ _+\n", run.stdout.partition("= short test summary")[0], flags=re.MULTILINE)
    assert len(found) == len(lines), run.stdout
    return found


@pytest.fixture(scope="module")
def shown_by_default(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    lines = [*(line for line, _, _ in CASES), DEFECT]
    return dict(zip(lines, failures(tmp_path_factory.mktemp("failures"), lines), strict=True))


@pytest.mark.parametrize(("line", "shown", "most"), CASES, ids=[line for line, _, _ in CASES])
def test_a_failed_test_shows_the_lines_of_the_test_and_of_the_domain(
    shown_by_default: dict[str, str], line: str, shown: list[str], most: int
) -> None:
    text = shown_by_default[line]
    for expected in [line, *shown]:
        assert expected in text
    assert str(ROOT) not in text, f"frames of the framework:\n{text}"
    assert not re.search(r"b'.*\\x", text), f"bytes of messages:\n{text}"
    assert "Captured" not in text, f"what a worker would log:\n{text}"
    assert len(text.splitlines()) <= most, text


@pytest.mark.parametrize("option", ["--full-trace", "--override-ini=eventsource_tracebacks=full"])
def test_the_frames_of_the_framework_are_shown_when_asked_for(tmp_path: Path, option: str) -> None:
    (text,) = failures(tmp_path, ['app.send(Item, "b", Sell(count=1))'], option)
    assert f"{ROOT}/eventsource/testing/app.py" in text


def test_a_defect_of_the_framework_keeps_its_frames(shown_by_default: dict[str, str]) -> None:
    assert f"{ROOT}/eventsource/testing/app.py" in shown_by_default[DEFECT]
