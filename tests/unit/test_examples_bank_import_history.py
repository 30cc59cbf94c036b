"""The command's own mistakes, told before any server is started."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.bank.import_history import main


@pytest.fixture(autouse=True)
def collections_as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


@pytest.mark.parametrize("arguments", [[], ["a.csv", "--patience", "0"], ["a.csv", "--unknown"]])
def test_wrong_usage_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "history.csv, line 1: the file is empty"),
        ("transaction_id,account_id\n1,2\n", "history.csv, line 1, column date: the column is missing"),
        (
            "transaction_id,account_id,date,kind,operation,purpose,amount,balance\n1,x,1993-01-01,credit,,,1.00,1.00\n",
            "history.csv, line 2, column account_id: 'x' is not a number",
        ),
    ],
)
def test_a_file_that_begins_wrong_starts_no_server(
    tmp_path: Path, content: str, says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_servers(_progress: object) -> None:
        raise AssertionError("servers were started")

    monkeypatch.setattr("examples.bank.import_history.servers", no_servers)
    path = tmp_path / "history.csv"
    path.write_text(content)
    assert main([str(path), "--json"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {tmp_path}/{says}")
    assert err.count("\n") == 1


def test_naming_one_server_of_the_two_is_a_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "history.csv"
    path.write_text(
        "transaction_id,account_id,date,kind,operation,purpose,amount,balance\n1,1,1993-01-01,credit,,,1.00,1.00\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVENTSOURCE_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.delenv("EVENTSOURCE_POSTGRES__URL", raising=False)
    assert main([str(path)]) == 2
    assert "EVENTSOURCE_POSTGRES__URL is not" in capsys.readouterr().err
