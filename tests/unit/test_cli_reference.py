from __future__ import annotations

from pathlib import Path

from eventsource.cli.reference import settings_reference
from eventsource.settings import setting_variables

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_the_page_is_what_the_models_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == settings_reference(), "write it anew with `make format`"


def test_every_setting_is_on_the_page_with_a_description() -> None:
    rows = [line for line in settings_reference().splitlines() if line.startswith("| `EVENTSOURCE_")]
    assert len(rows) == len(setting_variables())
    assert all("None" not in row for row in rows)
