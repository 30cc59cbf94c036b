from __future__ import annotations

import json

import pytest

from eventsource.cli.output import counted, print_json, print_table, printable


def test_what_is_printed_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[31mred\x07\r\nb\x9b") == "a\\x1b[31mred\\x07\\r\\nb\\x9b"
    assert printable("Zoë 東京") == "Zoë 東京"
    assert printable(None) == ""


def test_table_cells_are_no_markup_and_are_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name",), [("[red]" + "x" * 300,)])
    printed = capsys.readouterr().out
    assert "[red]" in printed
    assert printed.count("x") == 300


@pytest.mark.parametrize("title", ["item [red]7", "item [/b]", "item \x1b[31m"])
def test_a_title_is_no_markup_and_steers_nothing(capsys: pytest.CaptureFixture[str], title: str) -> None:
    print_table(("name",), [("x" * 80,)], title=title)
    assert capsys.readouterr().out.splitlines()[0].strip() == printable(title)


def test_json_is_one_document_and_a_stream_is_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": "Zoë"})
    assert json.loads(capsys.readouterr().out) == {"name": "Zoë"}
    print_json({"text": "two\nlines"}, indent=None)
    assert capsys.readouterr().out.count("\n") == 1


def test_one_is_no_plural() -> None:
    assert [counted(number, "row") for number in (0, 1, 2, 12_000)] == ["0 rows", "1 row", "2 rows", "12,000 rows"]
