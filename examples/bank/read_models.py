"""The read models: where each account stands, and a statement with one row a transaction."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from sqlalchemy.orm import Mapped, mapped_column

from eventsource import RecordedEvent
from examples.bank.domain import ZERO, AccountOpened, Deposited, TransactionRecorded, Withdrawn
from projections import Projection, ReadModel, projects


class AccountBalance(ReadModel):
    """One account. All amounts are Czech crowns."""

    __tablename__ = "balances"

    account_id: Mapped[str] = mapped_column(primary_key=True)
    balance: Mapped[Decimal] = mapped_column(default=ZERO)
    overdraft_limit: Mapped[Decimal] = mapped_column(default=ZERO)
    transactions: Mapped[int] = mapped_column(default=0)
    last_booked_on: Mapped[date | None] = mapped_column(default=None)
    recorded_balance: Mapped[Decimal | None] = mapped_column(default=None)
    drift: Mapped[Decimal] = mapped_column(default=ZERO)
    """How far `balance` lay from what the bank recorded, at the last recorded transaction. The bank rounds to 0.10."""
    largest_drift: Mapped[Decimal] = mapped_column(default=ZERO)
    """The largest such distance at any transaction."""


class Balances(Projection[AccountBalance], name="balances"):
    @projects
    def on_opened(self, event: AccountOpened, row: AccountBalance) -> None:
        row.overdraft_limit = event.overdraft_limit

    @projects
    def on_recorded(self, event: TransactionRecorded, row: AccountBalance) -> None:
        row.transactions += 1
        row.balance += event.change
        row.last_booked_on = event.booked_on
        row.recorded_balance = event.recorded_balance
        row.drift = abs(row.balance - event.recorded_balance)
        row.largest_drift = max(row.largest_drift, row.drift)

    @projects
    def on_deposited(self, event: Deposited, row: AccountBalance) -> None:
        row.transactions += 1
        row.balance += event.amount

    @projects
    def on_withdrawn(self, event: Withdrawn, row: AccountBalance) -> None:
        row.transactions += 1
        row.balance -= event.amount


class StatementLine(ReadModel):
    """One transaction of an account. `line` is the account's version, so that lines stand in the order of events."""

    __tablename__ = "statement"

    account_id: Mapped[str] = mapped_column(primary_key=True)
    line: Mapped[int] = mapped_column(primary_key=True)
    transaction_id: Mapped[int | None] = mapped_column(default=None)
    """The bank's own number; none for what was paid in or out through this app."""
    booked_on: Mapped[date]
    kind: Mapped[str]
    operation: Mapped[str] = mapped_column(default="")
    purpose: Mapped[str] = mapped_column(default="")
    change: Mapped[Decimal]
    """What it added to the balance, in Czech crowns: below zero for a debit."""
    recorded_balance: Mapped[Decimal | None] = mapped_column(default=None)


def _line(_event: object, recorded: RecordedEvent) -> int:
    return recorded.version


class Statement(Projection[StatementLine], name="statement"):
    @projects(item=_line)
    def on_recorded(self, event: TransactionRecorded, row: StatementLine) -> None:
        row.transaction_id = event.transaction_id
        row.booked_on = event.booked_on
        row.kind = event.kind
        row.operation = event.operation
        row.purpose = event.purpose
        row.change = event.change
        row.recorded_balance = event.recorded_balance

    @projects(item=_line)
    def on_deposited(self, event: Deposited, row: StatementLine, recorded: RecordedEvent) -> None:
        row.booked_on = recorded.time.date()
        row.kind, row.operation = "credit", "deposit"
        row.change = event.amount

    @projects(item=_line)
    def on_withdrawn(self, event: Withdrawn, row: StatementLine, recorded: RecordedEvent) -> None:
        row.booked_on = recorded.time.date()
        row.kind, row.operation = "debit", "withdrawal"
        row.change = -event.amount
