"""The page of results, and figures as they are printed."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from benchmarks.output import finish, rounded, written
from benchmarks.results import Results

DAY = date(2026, 11, 23)


def test_a_section_is_replaced_and_the_others_stay(tmp_path: Path) -> None:
    page = tmp_path / "RESULTS.md"
    first = Results(page, "2 cores")
    first.put("`a`", {"per_second": 1_234.5}, DAY)
    first.put("`b`", {"p50_ms": 0.123456}, DAY)
    Results(page, "2 cores").put("`a`", {"per_second": 2_345.6}, DAY)
    text = page.read_text(encoding="utf-8")
    assert "| per second | 2,346 |" in text
    assert "1,234" not in text
    assert "| p50 ms | 0.12346 |" in text
    assert text.count("## ") == 2


def test_figures_of_another_machine_are_dropped(tmp_path: Path) -> None:
    page = tmp_path / "RESULTS.md"
    Results(page, "2 cores").put("`a`", {"per_second": 1.0}, DAY)
    Results(page, "64 cores").put("`b`", {"per_second": 2.0}, DAY)
    text = page.read_text(encoding="utf-8")
    assert "64 cores" in text
    assert "`a`" not in text


def test_what_was_not_measured_is_null_for_programs_and_said_to_people(capsys: pytest.CaptureFixture[str]) -> None:
    figures = {"kafka_streams_per_second": None, "kafka_streams": "not measured: java is not on the PATH"}
    finish(figures, only_json=False)
    *table, last = capsys.readouterr().out.splitlines()
    assert json.loads(last) == figures
    assert table[0].split() == ["kafka_streams_per_second", "not", "measured"]


def test_with_json_nothing_else_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    finish({"ratio": 1.0, "pairs": 5}, only_json=True)
    assert json.loads(capsys.readouterr().out) == {"ratio": 1.0, "pairs": 5}


@pytest.mark.parametrize(
    ("figure", "shown"), [(12_345.678, 12_346), (0.98765432, 0.98765), (-1_000.4, -1_000), (5, 5), (None, None)]
)
def test_digits_that_mean_nothing_are_left_out(figure: float | None, shown: float | None) -> None:
    assert rounded(figure) == shown


def test_small_figures_keep_their_digits() -> None:
    assert written(0.0001234567) == "0.00012346"
