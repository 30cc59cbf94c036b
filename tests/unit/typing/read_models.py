"""What users do with read models. A type checker must refuse each line that ends in `# wrong`, and no other."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import assert_type

from account import Account, AccountOpened, Deposited, Withdrawn
from sqlalchemy import select
from sqlalchemy.orm import Mapped, mapped_column

from eventsource import RecordedEvent, Token
from eventsource.app import App
from eventsource.consuming.definition import ConsumerDefinition, Readable
from projections import Deleted, Projection, ReadModel, Rows, projects


class Line(ReadModel):
    __tablename__ = "lines"
    account_id: Mapped[str] = mapped_column(primary_key=True)
    line: Mapped[int] = mapped_column(primary_key=True)
    amount: Mapped[Decimal] = mapped_column(default=Decimal("0.00"))


class Lines(Projection[Line], name="lines"):
    @projects(item=lambda event: 0)
    def on_opened(self, event: AccountOpened, row: Line) -> Deleted | None:
        row.amount += 1
        row.line = "one"  # wrong
        row.amuont = Decimal(1)  # wrong
        return None

    @projects(Deposited, item=lambda event, recorded: recorded.version)
    def on_deposited(self, event: Deposited, row: Line, recorded: RecordedEvent) -> None:
        assert_type(recorded.version, int)
        row.amount = event.amount

    @projects(Withdrawn, keys=lambda event: [event.amount, event.amuont])  # wrong for pyright
    def on_withdrawn(self, event: Withdrawn, rows: Rows[Line]) -> None:
        assert_type(rows["a", 1], Line)
        assert_type(rows.get(("a", 1)), Line | None)


Line(account_id="a", line=1)
Line("a", 1)  # wrong
Line(account_id="a")  # wrong
Line(account_id=1, line=1)  # wrong

definition: ConsumerDefinition = Lines
readable: Readable = Lines
app = App("bank", aggregates=[Account], consumers=[Lines])


def read(token: Token) -> Sequence[Line]:
    with app.connect() as client:
        client.wait_for(token, Lines, timeout=1.0)
        client.wait_for(token, Line)  # wrong
        with client.read(Lines, at_least=token, timeout=1.0) as session:
            return session.scalars(select(Line)).all()
