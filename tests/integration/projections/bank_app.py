"""A small bank for the tests of the read side. It can be imported by a test and run by a worker of its own."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Self

from pydantic import Field
from sqlalchemy.orm import Mapped, mapped_column

from eventsource.app import App
from eventsource.domain import Aggregate, Command, Event, applies, creates, decides
from eventsource.log.recorded import Recorded
from projections import Deleted, Projection, ReadModel, Rows, projects

Money = Annotated[Decimal, Field(max_digits=18, decimal_places=2)]
PARTITIONS = 4


class Open(Command, name="open"):
    owner: str


class Opened(Event, name="opened"):
    owner: str


class Deposited(Event, name="deposited", aliases=("paid-in",)):
    amount: Money


class Moved(Event, name="moved"):
    """To another account: its row is touched by an event of this one."""

    target: str
    amount: Money


class Closed(Event, name="closed"):
    pass


class Noted(Event, name="noted"):
    """What no projection here cares for."""

    text: str


class Account(Aggregate, name="account"):
    owner: str

    @creates
    @classmethod
    def open(cls, command: Open) -> Opened:
        return Opened(owner=command.owner)

    @creates
    @classmethod
    def on_opened(cls, event: Opened) -> Self:
        return cls(owner=event.owner)

    @applies
    def on_anything(self, event: Deposited | Moved | Closed | Noted) -> None:
        pass


class Audit(Command, name="audit"):
    text: str


class Audited(Event, name="audited"):
    text: str


class Branch(Aggregate, name="branch"):
    """A second aggregate, whose ids may be those of accounts."""

    text: str

    @creates
    @classmethod
    def audit(cls, command: Audit) -> Audited:
        return Audited(text=command.text)

    @creates
    @classmethod
    def on_audited(cls, event: Audited) -> Self:
        return cls(text=event.text)

    @decides
    def audit_again(self, command: Audit) -> Audited:
        return Audited(text=command.text)

    @applies
    def on_audited_again(self, event: Audited) -> None:
        self.text = event.text


class Balance(ReadModel):
    __tablename__ = "balances"
    account_id: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str | None]
    balance: Mapped[Decimal] = mapped_column(default=Decimal("0.00"))
    events: Mapped[int] = mapped_column(default=0)


class Balances(Projection[Balance], name="balances"):
    @projects
    def on_opened(self, event: Opened, row: Balance) -> None:
        row.owner = event.owner
        row.events += 1

    @projects
    def on_deposited(self, event: Deposited, row: Balance) -> None:
        row.balance += event.amount
        row.events += 1

    @projects
    def on_closed(self, event: Closed, row: Balance) -> Deleted:
        return Deleted()


class Line(ReadModel):
    __tablename__ = "statement"
    account_id: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    amount: Mapped[Decimal]


class Statement(Projection[Line], name="statement"):
    @projects(item=lambda event, recorded: recorded.version)
    def on_deposited(self, event: Deposited, row: Line, recorded: Recorded) -> None:
        row.amount = event.amount


class Flow(ReadModel):
    """What came to an account and what went, whoever moved it: shared between partitions."""

    __tablename__ = "flows"
    account_id: Mapped[str] = mapped_column(primary_key=True)
    received: Mapped[Decimal] = mapped_column(default=Decimal("0.00"))
    moves: Mapped[int] = mapped_column(default=0)


class Flows(Projection[Flow], name="flows"):
    @projects(Moved, keys=lambda event: (event.target,))
    def on_moved(self, event: Moved, rows: Rows[Flow]) -> None:
        rows[event.target].received += event.amount
        rows[event.target].moves += 1


bank = App("bank", aggregates=[Account, Branch], consumers=[Balances, Statement, Flows], partitions=PARTITIONS)
