"""The proof of an import: figures, contradictions and differences between two builds."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from decimal import Decimal

from examples.bank import AccountBalance, StatementLine
from examples.bank.history import HistoryRow
from examples.bank.report import Report
from examples.bank.verification import Build, Figures, contradictions, differences, figures

DAY = date(1993, 1, 1)
ROWS = [
    HistoryRow(2, 11, "1", DAY, "credit", "cash", "", Decimal("900.00"), Decimal("900.00")),
    HistoryRow(3, 21, "2", DAY, "credit", "cash", "", Decimal("5.00"), Decimal("5.00")),
    HistoryRow(4, 12, "1", DAY, "debit", "cash", "rent", Decimal("100.26"), Decimal("800.00")),
    HistoryRow(5, 13, "1", DAY, "credit", "cash", "", Decimal("0.16"), Decimal("800.00")),
]


def statement_line(account_id: str, line: int, row: HistoryRow) -> StatementLine:
    return StatementLine(
        account_id=account_id,
        line=line,
        transaction_id=row.transaction_id,
        booked_on=row.booked_on,
        kind=row.kind,
        operation=row.operation,
        purpose=row.purpose,
        change=row.change,
        recorded_balance=row.balance,
    )


def build() -> Build:
    balances = [
        AccountBalance(
            account_id="1",
            balance=Decimal("799.90"),
            transactions=3,
            last_booked_on=DAY,
            recorded_balance=Decimal("800.00"),
            drift=Decimal("0.10"),
            largest_drift=Decimal("0.26"),
        ),
        AccountBalance(
            account_id="2",
            balance=Decimal("5.00"),
            transactions=1,
            last_booked_on=DAY,
            recorded_balance=Decimal("5.00"),
        ),
    ]
    lines = [("1", 2, ROWS[0]), ("1", 3, ROWS[2]), ("1", 4, ROWS[3]), ("2", 2, ROWS[1])]
    return Build(balances, [statement_line(*line) for line in lines])


def only(sentences: Iterable[str]) -> str:
    (sentence,) = sentences
    return sentence


# --- figures -----------------------------------------------------------------------------------------------------


def test_the_figures_are_those_of_the_read_models() -> None:
    assert figures(build(), {"1", "2"}) == Figures(4, 2, 1, Decimal("0.26"))


def test_accounts_that_the_file_does_not_name_are_left_out() -> None:
    assert figures(build(), {"2"}) == Figures(1, 1, 1, Decimal("0.00"))


def test_what_was_paid_in_here_is_no_transaction_of_the_file() -> None:
    found = build()
    found.statement[0].transaction_id = None
    assert figures(found, {"1", "2"}).transactions == 3


# --- contradictions ----------------------------------------------------------------------------------------------


def test_read_models_that_hold_the_file_contradict_nothing() -> None:
    assert list(contradictions(build(), ROWS)) == []


def test_a_lost_transaction_is_found() -> None:
    found = build()
    lost = Build([*found.balances], [line for line in found.statement if line.transaction_id != 21])
    assert "transaction 21 of account 2 is not in the statement" in " ".join(contradictions(lost, ROWS))


def test_a_transaction_in_another_account_is_found() -> None:
    found = build()
    moved = [line if line.transaction_id != 21 else statement_line("1", 5, ROWS[1]) for line in found.statement]
    sentences = list(contradictions(Build(found.balances, moved), ROWS))
    assert any("transaction 21 of account 2 is not in the statement" in sentence for sentence in sentences)
    assert any(sentence.startswith("account 1: its balance shows") for sentence in sentences)


def test_a_doubled_transaction_is_found_by_the_balance() -> None:
    found = build()
    doubled = Build(found.balances, [*found.statement, statement_line("2", 3, ROWS[1])])
    assert only(contradictions(doubled, ROWS)).startswith("account 2: its balance shows")


def test_a_changed_amount_is_found() -> None:
    found = build()
    found.statement[3].purpose = "other"
    assert "is (1993-01-01, credit, cash, , 5.00, 5.00) in the file and" in only(contradictions(found, ROWS))


def test_a_wrong_balance_and_a_wrong_drift_are_found() -> None:
    for column in ("balance", "drift", "largest_drift"):
        found = build()
        setattr(found.balances[0], column, Decimal("7.00"))
        assert only(contradictions(found, ROWS)).startswith("account 1: its balance shows")


def test_transactions_in_another_order_than_the_files_are_found() -> None:
    swapped = [ROWS[0], ROWS[1], ROWS[3]._replace(line=4), ROWS[2]._replace(line=5)]
    assert "line 5: transaction 12 of account 1 stands before" in only(contradictions(build(), swapped))


def test_a_statement_without_a_balance_is_found() -> None:
    found = build()
    assert "account 2 has a statement and no balance" in list(
        contradictions(Build(found.balances[:1], found.statement), ())
    )


# --- differences -------------------------------------------------------------------------------------------------


def test_two_equal_builds_do_not_differ() -> None:
    assert list(differences(build(), build())) == []


def test_a_row_that_differs_is_shown_in_both_builds() -> None:
    after = build()
    after.balances[1].balance = Decimal("6.00")
    sentence = only(differences(build(), after))
    assert sentence.startswith("row 2: before the rebuild AccountBalance(")
    assert "Decimal('6.00')" in sentence


def test_a_row_that_is_missing_or_new_is_a_difference() -> None:
    whole = build()
    shorter = Build(whole.balances, whole.statement[:-1])
    assert len(list(differences(whole, shorter))) == len(list(differences(shorter, whole))) == 1


# --- report ------------------------------------------------------------------------------------------------------

REPORT = Report(
    transactions=47_527,
    accounts=1_201,
    accepted=47_527,
    rejected=0,
    accounts_without_drift=598,
    largest_drift=Decimal("0.80"),
    rebuild_identical=True,
    commands=48_728,
    commands_per_second=6_543.21,
    projected_per_second=6_000.0,
    rebuild_per_second=20_000.5,
)


def test_the_report_is_one_line_of_json_with_a_number_for_the_drift() -> None:
    text = REPORT.as_json()
    assert "\n" not in text
    assert json.loads(text) == {
        "transactions": 47_527,
        "accounts": 1_201,
        "accepted": 47_527,
        "rejected": 0,
        "accounts_without_drift": 598,
        "largest_drift": 0.8,
        "rebuild_identical": True,
        "commands": 48_728,
        "commands_per_second": 6_543,
        "projected_per_second": 6_000,
        "rebuild_per_second": 20_000,
    }


def test_the_table_tells_a_rebuild_that_is_not_identical() -> None:
    def cells(report: Report) -> list[str]:
        return [str(cell) for cell in report.as_table("x").columns[1].cells]

    assert "47,527" in cells(REPORT)
    assert "yes" in cells(REPORT)
    assert "NO" in cells(replace(REPORT, rebuild_identical=False))
