"""The bank's rules, and its read models in memory."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from pydantic import ValidationError

from eventsource.testing import given
from examples.bank import (
    Account,
    AccountOpened,
    Deposit,
    Deposited,
    InsufficientFunds,
    OpenAccount,
    RecordTransaction,
    TransactionRecorded,
    Withdraw,
    Withdrawn,
)

CREDIT = {
    "transaction_id": 171812,
    "booked_on": date(1993, 1, 1),
    "kind": "credit",
    "operation": "cash deposit",
    "purpose": "",
    "amount": Decimal("900.00"),
    "recorded_balance": Decimal("900.00"),
}
DEBIT = {**CREDIT, "transaction_id": 171813, "kind": "debit", "recorded_balance": Decimal("-900.00")}


def test_an_account_is_opened_once() -> None:
    opened = AccountOpened(overdraft_limit=Decimal("50.00"))
    given(Account).when(OpenAccount(overdraft_limit=Decimal("50.00"))).then(opened).then_state(
        balance=Decimal("0.00"), overdraft_limit=Decimal("50.00")
    )
    given(Account, opened).when(OpenAccount()).then_already_exists()


def test_nothing_happens_to_an_account_that_was_never_opened() -> None:
    given(Account).when(RecordTransaction(**CREDIT)).then_not_found()
    given(Account).when(Withdraw(amount=Decimal("1.00"))).then_not_found()


def test_a_credit_of_the_past_adds_to_the_balance() -> None:
    given(Account, AccountOpened()).when(RecordTransaction(**CREDIT)).then(TransactionRecorded(**CREDIT)).then_state(
        balance=Decimal("900.00")
    )


def test_history_is_recorded_even_where_it_overdrew_the_account() -> None:
    given(Account, AccountOpened()).when(RecordTransaction(**DEBIT)).then(TransactionRecorded(**DEBIT)).then_state(
        balance=Decimal("-900.00")
    )


def test_a_withdrawal_may_use_the_balance_and_the_overdraft_limit_to_the_last_crown() -> None:
    account = given(Account, AccountOpened(overdraft_limit=Decimal("100.00")), Deposited(amount=Decimal("50.00")))
    account.when(Withdraw(amount=Decimal("150.00"))).then(Withdrawn(amount=Decimal("150.00"))).then_state(
        balance=Decimal("-100.00")
    )


def test_a_withdrawal_below_the_overdraft_limit_is_rejected_with_what_was_available() -> None:
    account = given(Account, AccountOpened(overdraft_limit=Decimal("100.00")), Deposited(amount=Decimal("50.00")))
    account.when(Withdraw(amount=Decimal("150.01"))).then_rejected(
        InsufficientFunds, requested=Decimal("150.01"), available=Decimal("150.00")
    )


def test_an_account_that_history_took_below_its_limit_has_less_than_nothing_available() -> None:
    account = given(Account, AccountOpened(), TransactionRecorded(**DEBIT))
    account.when(Withdraw(amount=Decimal("0.01"))).then_rejected(InsufficientFunds, available=Decimal("-900.00"))


def test_a_deposit_makes_a_withdrawal_possible() -> None:
    given(Account, AccountOpened()).when(Deposit(amount=Decimal("10.00"))).then(
        Deposited(amount=Decimal("10.00"))
    ).when(Withdraw(amount=Decimal("10.00"))).then(Withdrawn(amount=Decimal("10.00"))).then_state(
        balance=Decimal("0.00")
    )


@pytest.mark.parametrize("amount", ["0.00", "-1.00", "0.001", "12345678901234567.00", "NaN"])
def test_an_amount_is_positive_with_at_most_two_decimals(amount: str) -> None:
    with pytest.raises(ValidationError):
        Deposit(amount=Decimal(amount))


def test_a_text_that_no_database_could_hold_is_refused_before_it_reaches_the_log() -> None:
    with pytest.raises(ValidationError):
        RecordTransaction(**{**CREDIT, "purpose": "a\0b"})
