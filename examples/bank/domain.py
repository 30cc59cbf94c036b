"""The domain: accounts of a bank, with the history that another system recorded and the withdrawals that this one decides."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Final, Literal, Self

from pydantic import Field

from eventsource import Aggregate, Command, Event, Rejected, applies, creates, decides

Money = Annotated[Decimal, Field(max_digits=18, decimal_places=2, gt=0)]
"""An amount in Czech crowns: always positive, since what happens with it is in the message's name or kind."""
Limit = Annotated[Decimal, Field(max_digits=18, decimal_places=2, ge=0)]
Balance = Annotated[Decimal, Field(max_digits=18, decimal_places=2)]
"""What stands on an account, in Czech crowns; below zero when it is overdrawn."""
# Postgres keeps no NUL in a text, so a read model could never hold one.
Text = Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")]
Number = Annotated[int, Field(ge=1, le=2**63 - 1)]
Kind = Literal["credit", "debit"]

ZERO: Final = Decimal("0.00")


class OpenAccount(Command, name="open-account"):
    """Opens an account. `overdraft_limit` is how far below zero a withdrawal may take it."""

    overdraft_limit: Limit = ZERO


class RecordTransaction(Command, name="record-transaction"):
    """Records what happened elsewhere. It is history: nothing is decided again, overdraft or not.

    `recorded_balance` is what the bank itself noted after the transaction.
    """

    transaction_id: Number
    booked_on: date
    kind: Kind
    operation: Text = ""
    purpose: Text = ""
    amount: Money
    recorded_balance: Balance


class Deposit(Command, name="deposit"):
    """Pays in."""

    amount: Money


class Withdraw(Command, name="withdraw"):
    """Takes out, as far as the balance and the overdraft limit allow."""

    amount: Money


AccountCommand = OpenAccount | RecordTransaction | Deposit | Withdraw


class AccountOpened(Event, name="account-opened"):
    overdraft_limit: Limit = ZERO


class TransactionRecorded(Event, name="transaction-recorded"):
    transaction_id: Number
    booked_on: date
    kind: Kind
    operation: Text = ""
    purpose: Text = ""
    amount: Money
    recorded_balance: Balance

    @property
    def change(self) -> Decimal:
        """What it adds to the balance: the amount, below zero for a debit."""
        return self.amount if self.kind == "credit" else -self.amount


class Deposited(Event, name="deposited"):
    amount: Money


class Withdrawn(Event, name="withdrawn"):
    amount: Money


class InsufficientFunds(Rejected, code="insufficient_funds"):
    """Raised when a withdrawal would take an account below its overdraft limit."""

    requested: Decimal
    available: Decimal
    """What could be withdrawn: balance and overdraft limit together. Below zero when history went beyond the limit."""


class Account(Aggregate[AccountCommand], name="account"):
    balance: Decimal = ZERO
    overdraft_limit: Decimal = ZERO

    @creates
    @classmethod
    def open(cls, command: OpenAccount) -> AccountOpened:
        return AccountOpened(overdraft_limit=command.overdraft_limit)

    @creates
    @classmethod
    def on_opened(cls, event: AccountOpened) -> Self:
        return cls(overdraft_limit=event.overdraft_limit)

    @decides
    def record(self, command: RecordTransaction) -> TransactionRecorded:
        return TransactionRecorded(
            transaction_id=command.transaction_id,
            booked_on=command.booked_on,
            kind=command.kind,
            operation=command.operation,
            purpose=command.purpose,
            amount=command.amount,
            recorded_balance=command.recorded_balance,
        )

    @decides
    def deposit(self, command: Deposit) -> Deposited:
        return Deposited(amount=command.amount)

    @decides
    def withdraw(self, command: Withdraw) -> Withdrawn:
        available = self.balance + self.overdraft_limit
        if command.amount > available:
            raise InsufficientFunds(requested=command.amount, available=available)
        return Withdrawn(amount=command.amount)

    @applies
    def on_recorded(self, event: TransactionRecorded) -> None:
        self.balance += event.change

    @applies
    def on_deposited(self, event: Deposited) -> None:
        self.balance += event.amount

    @applies
    def on_withdrawn(self, event: Withdrawn) -> None:
        self.balance -= event.amount
