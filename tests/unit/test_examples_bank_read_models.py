"""The bank's read models, folded in memory."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from eventsource.testing import TestApp
from examples.bank import (
    Account,
    AccountBalance,
    Balances,
    Deposit,
    OpenAccount,
    RecordTransaction,
    Statement,
    StatementLine,
    Withdraw,
    bank,
)


def recorded(transaction_id: int, kind: str, amount: str, balance: str) -> RecordTransaction:
    return RecordTransaction(
        transaction_id=transaction_id,
        booked_on=date(1993, 1, transaction_id),
        kind=kind,
        operation="cash",
        purpose="rent",
        amount=Decimal(amount),
        recorded_balance=Decimal(balance),
    )


@pytest.fixture
def app() -> TestApp:
    app = TestApp(bank)
    app.send(Account, "1", OpenAccount(overdraft_limit=Decimal("10.00")))
    app.send(Account, "1", recorded(1, "credit", "900.00", "900.00"))
    app.send(Account, "1", recorded(2, "debit", "100.26", "800.00"))
    app.send(Account, "1", recorded(3, "credit", "0.26", "800.00"))
    app.send(Account, "2", OpenAccount())
    return app


def test_a_balance_shows_how_far_it_lies_from_what_the_bank_recorded(app: TestApp) -> None:
    assert list(app.rows(Balances)) == [
        AccountBalance(
            account_id="1",
            balance=Decimal("800.00"),
            overdraft_limit=Decimal("10.00"),
            transactions=3,
            last_booked_on=date(1993, 1, 3),
            recorded_balance=Decimal("800.00"),
            drift=Decimal("0.00"),
            largest_drift=Decimal("0.26"),
        ),
        AccountBalance(account_id="2"),
    ]


def test_a_statement_has_one_line_a_transaction_in_the_order_of_events(app: TestApp) -> None:
    lines = list(app.rows(Statement))
    assert [(line.account_id, line.line, line.transaction_id, line.change) for line in lines] == [
        ("1", 2, 1, Decimal("900.00")),
        ("1", 3, 2, Decimal("-100.26")),
        ("1", 4, 3, Decimal("0.26")),
    ]
    assert lines[0] == StatementLine(
        account_id="1",
        line=2,
        transaction_id=1,
        booked_on=date(1993, 1, 1),
        kind="credit",
        operation="cash",
        purpose="rent",
        change=Decimal("900.00"),
        recorded_balance=Decimal("900.00"),
    )


def test_what_is_paid_in_and_out_here_changes_balance_and_statement(app: TestApp) -> None:
    app.send(Account, "2", Deposit(amount=Decimal("5.00")))
    app.send(Account, "2", Withdraw(amount=Decimal("2.00")))
    (balance,) = [row for row in app.rows(Balances) if row.account_id == "2"]
    assert (balance.balance, balance.transactions, balance.drift) == (Decimal("3.00"), 2, Decimal("0.00"))
    today = datetime(2000, 1, 1, tzinfo=UTC).date()
    lines = [line for line in app.rows(Statement) if line.account_id == "2"]
    assert [(line.line, line.transaction_id, line.booked_on, line.kind, line.change) for line in lines] == [
        (2, None, today, "credit", Decimal("5.00")),
        (3, None, today, "debit", Decimal("-2.00")),
    ]
