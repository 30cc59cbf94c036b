"""Reading a file of transactions: each mistake is one sentence with file, line, column and the mend."""

from __future__ import annotations

import gzip
from datetime import date
from decimal import Decimal
from itertools import islice
from pathlib import Path
from random import Random
from typing import Protocol

import pytest

from examples.bank.history import HistoryError, HistoryRow, read_history

HEADER = "transaction_id,account_id,date,kind,operation,purpose,amount,balance\n"
ROW = "171812,576,1993-01-01,credit,cash deposit,,900.00,900.00\n"
SECOND = "171813,576,1993-01-02,debit,cash withdrawal,,100.00,800.00\n"


class Write(Protocol):
    def __call__(self, content: str | bytes, name: str = "history.csv") -> Path: ...


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(content: str | bytes, name: str = "history.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file


def mistake(path: Path) -> HistoryError:
    with pytest.raises(HistoryError) as caught:
        list(read_history(path))
    text = str(caught.value)
    assert text.startswith(f"{path}")
    assert "\n" not in text
    return caught.value


# --- what is right -----------------------------------------------------------------------------------------------


def test_a_row_is_read_exactly(write: Write) -> None:
    assert list(read_history(write(HEADER + ROW))) == [
        HistoryRow(
            2, 171812, "576", date(1993, 1, 1), "credit", "cash deposit", "", Decimal("900.00"), Decimal("900.00")
        )
    ]


def test_a_debit_changes_the_balance_downwards(write: Write) -> None:
    credit, debit = read_history(write(HEADER + ROW + SECOND))
    assert (credit.change, debit.change) == (Decimal("900.00"), Decimal("-100.00"))


def test_a_compressed_file_reads_like_a_plain_one(write: Write) -> None:
    plain, compressed = write(HEADER + ROW), write(gzip.compress((HEADER + ROW).encode()), "history.csv.gz")
    assert list(read_history(compressed)) == list(read_history(plain))


def test_order_of_columns_further_columns_byte_order_mark_and_empty_lines_do_not_matter(write: Write) -> None:
    path = write(
        "\ufeffbalance,amount,note,purpose,operation,kind,date,account_id,transaction_id\r\n\r\n"
        '900,900.0,"a, ""b""",,cash deposit,credit,1993-01-01,576,171812\r\n\r\n'
    )
    (row,) = read_history(path)
    assert (row.line, row.transaction_id, row.account_id, row.amount) == (3, 171812, "576", Decimal(900))


def test_a_quoted_field_may_span_lines_and_the_count_goes_on(write: Write) -> None:
    path = write(HEADER + ROW.replace("cash deposit", '"cash\ndeposit"') + SECOND)
    assert [(row.line, row.operation) for row in read_history(path)] == [(2, "cash\ndeposit"), (4, "cash withdrawal")]


def test_balances_may_be_negative(write: Write) -> None:
    (row,) = read_history(write(HEADER + ROW.replace("900.00\n", "-900.00\n")))
    assert row.balance == Decimal("-900.00")


def test_rows_before_a_mistake_are_read_first(write: Write) -> None:
    rows = read_history(write(HEADER + ROW + "broken\n"))
    assert [row.transaction_id for row in islice(rows, 1)] == [171812]
    with pytest.raises(HistoryError):
        next(rows)


def test_the_shipped_file_has_the_rows_that_its_readme_tells(request: pytest.FixtureRequest) -> None:
    rows = list(read_history(request.config.rootpath / "examples/bank/data/transactions.csv.gz"))
    assert (len(rows), len({row.account_id for row in rows})) == (47_527, 1_201)


# --- mistakes in a row -------------------------------------------------------------------------------------------

FIELDS = {
    "transaction_id": "171813",
    "account_id": "576",
    "date": "1993-01-02",
    "kind": "debit",
    "operation": "cash",
    "purpose": "",
    "amount": "100.00",
    "balance": "800.00",
}


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("transaction_id", "", "'' is not a number"),
        ("transaction_id", "-4", "'-4' is not a number"),
        ("transaction_id", "9" * 19, "is not a number"),
        ("transaction_id", "0", "0 is no number"),
        ("transaction_id", "171812", "171812 stands on line 2 already"),
        ("account_id", "abc", "'abc' is not a number"),
        ("account_id", "5.76", "'5.76' is not a number"),
        ("account_id", "\u0665\u0667\u0666", "is not a number"),
        ("account_id", "576\n", "is not a number"),
        ("date", "1993-02-30", "'1993-02-30' is no date"),
        ("date", "19930102", "'19930102' is no date"),
        ("date", "1993-W01-1", "'1993-W01-1' is no date"),
        ("kind", "Debit", "'Debit' is no kind: write credit or debit"),
        ("operation", "x" * 201, "is longer than 200 characters"),
        ("purpose", "a\0b", "holds a NUL character"),
        ("amount", "-100.00", "'-100.00' is negative"),
        ("amount", "0.00", "'0.00' is zero"),
        ("amount", "", "'' is not an amount"),
        ("amount", "1e3", "'1e3' is not an amount"),
        ("amount", "NaN", "'NaN' is not an amount"),
        ("amount", "1,000.00", "'1,000.00' is not an amount"),
        ("amount", "0.001", "'0.001' has more than two decimals"),
        ("amount", "12345678901234567.00", "is too large"),
        ("balance", "much", "'much' is not an amount"),
        ("balance", "1.000", "'1.000' has more than two decimals"),
    ],
)
def test_a_wrong_value_is_named_with_file_line_and_column(write: Write, column: str, value: str, says: str) -> None:
    quoted = {name: f'"{text}"' for name, text in {**FIELDS, column: value}.items()}
    error = mistake(write(HEADER + ROW + ",".join(quoted.values()) + "\n"))
    assert (error.line, error.column) == (3, column)
    assert f"line 3, column {column}: " in str(error)
    assert says in str(error)


def test_a_line_with_too_few_fields_names_the_first_that_is_missing(write: Write) -> None:
    error = mistake(write(HEADER + ROW + "171813,576,1993-01-02,debit\n"))
    assert (error.line, error.column) == (3, "operation")
    assert "has 4 of 8 fields" in str(error)


def test_a_line_with_too_many_fields_quotes_the_first_of_them(write: Write) -> None:
    error = mistake(write(HEADER + ROW + SECOND.replace("cash", "cash, paid").replace("\n", ",x\n")))
    assert (error.line, error.column) == (3, "9")
    assert "'800.00' is one field too many" in str(error)


@pytest.mark.parametrize(
    ("line", "column"),
    [
        ('171813,576,1993-01-02,debit,"cash" withdrawal,,100.00,800.00\n', "operation"),
        ('171813,576,1993-01-02,debit,cash,"never closed,100.00,800.00\n', "purpose"),
    ],
)
def test_quotes_that_do_not_match_are_found(write: Write, line: str, column: str) -> None:
    error = mistake(write(HEADER + ROW + line))
    assert (error.line, error.column) == (3, column)
    assert "quotes do not match" in str(error)


def test_a_quote_that_swallows_the_following_lines_is_told_of_the_line_where_it_begins(write: Write) -> None:
    error = mistake(write(HEADER + ROW + SECOND.replace("cash", '"cash') + ROW * 3_000))
    assert error.line == 3
    assert "quotes do not match" in str(error)


def test_bytes_that_are_not_utf8_are_named(write: Write) -> None:
    error = mistake(write((HEADER + ROW).encode() + SECOND.replace("cash", "výběr").encode("iso8859-2")))
    assert (error.line, error.column) == (3, "operation")
    assert "the byte 0xfd is not UTF-8" in str(error)


def test_old_line_ends_are_refused(write: Write) -> None:
    assert "carriage return" in str(mistake(write((HEADER + ROW).replace("\n", "\r"))))


def test_a_line_without_an_end_is_not_read_into_memory(write: Write) -> None:
    error = mistake(write(HEADER + "x" * 1_000_001))
    assert error.line == 2
    assert "longer than 1,000,000 bytes" in str(error)


# --- mistakes in a file ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", HEADER.strip().split(","))
def test_a_missing_column_is_named(write: Write, column: str) -> None:
    error = mistake(write(HEADER.replace(column, "other") + ROW))
    assert (error.line, error.column) == (1, column)
    assert "is missing" in str(error)


def test_a_column_named_twice_is_refused(write: Write) -> None:
    error = mistake(write(HEADER.replace("\n", ",amount\n") + ROW))
    assert (error.line, error.column) == (1, "amount")


def test_an_empty_file_and_one_without_rows_are_told_apart(write: Write) -> None:
    assert "the file is empty" in str(mistake(write("")))
    assert "no row below the header" in str(mistake(write(HEADER + "\n")))


def test_nothing_is_read_from_a_damaged_gzip_file(write: Write) -> None:
    noise = Random(7)
    rows = [f"{n},{n},1993-01-01,credit,{noise.randbytes(40).hex()},,1.00,1.00\n" for n in range(1, 2_000)]
    whole = gzip.compress((HEADER + "".join(rows)).encode())
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    for content, says in ((whole[: len(whole) // 2], "ends too early"), (bytes(flipped), "is damaged")):
        history = read_history(write(content, "history.csv.gz"))
        with pytest.raises(HistoryError, match=says) as caught:
            next(history)
        assert caught.value.line is not None
        assert caught.value.line > 100


def test_a_file_that_is_no_gzip_file_is_told(write: Write) -> None:
    assert "no gzip file although" in str(mistake(write(HEADER + ROW, "history.csv.gz")))


def test_a_file_that_is_not_there_or_no_file_is_told(tmp_path: Path) -> None:
    assert "there is no such file" in str(mistake(tmp_path / "none.csv"))
    assert "this is a folder" in str(mistake(tmp_path))


def test_a_file_that_may_not_be_read_is_told(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    path = write(HEADER + ROW)
    monkeypatch.setattr(Path, "open", refuse)
    assert "may not be read" in str(mistake(path))
