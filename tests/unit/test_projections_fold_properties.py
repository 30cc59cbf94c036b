"""However the log is cut into batches, the rows are the same: the promise that lets a worker stop anywhere."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field
from sqlalchemy.orm import Mapped, mapped_column

from eventsource.domain import Event
from eventsource.log.recorded import Recorded
from projections import Deleted, Projection, ReadModel, Rows, projects
from projections.fold import fold

Money = Annotated[Decimal, Field(max_digits=18, decimal_places=2)]
NOW = datetime(2024, 1, 1, tzinfo=UTC)
IDS = ("a", "b", "c")


class Deposited(Event, name="deposited"):
    amount: Money


class Closed(Event, name="closed"):
    pass


class Moved(Event, name="moved"):
    target: str
    amount: Money
    end: bool


class Balance(ReadModel):
    __tablename__ = "balances"
    account_id: Mapped[str] = mapped_column(primary_key=True)
    balance: Mapped[Decimal] = mapped_column(default=Decimal("0.00"))
    history: Mapped[list[int]] = mapped_column(default_factory=list)


class Balances(Projection[Balance], name="balances"):
    @projects
    def on_deposited(self, event: Deposited, row: Balance, recorded: Recorded) -> None:
        row.balance += event.amount
        row.history.append(recorded.version)

    @projects
    def on_closed(self, event: Closed, row: Balance) -> Deleted | None:
        return Deleted() if row.balance > 0 else None

    @projects(Moved, keys=lambda event: [event.target, "all"])
    def on_moved(self, event: Moved, rows: Rows[Balance]) -> None:
        if event.end:
            rows.delete(event.target)
        elif (row := rows.get(event.target)) is not None:
            row.balance -= event.amount
        rows["all"].balance += event.amount


amounts = st.integers(-500, 500).map(lambda cents: Decimal(cents) / 100)
facts = st.tuples(
    st.sampled_from(IDS),
    st.one_of(
        st.builds(Deposited, amount=amounts),
        st.builds(Closed),
        st.builds(Moved, target=st.sampled_from(IDS), amount=amounts, end=st.booleans()),
    ),
)


def stored_after(log: list[Recorded], cuts: list[int]) -> dict[Any, Any]:
    twin = Balances.__definition__.twin
    stored: dict[Any, tuple[Any, ...]] = {}
    edges = sorted({0, *(cut % (len(log) + 1) for cut in cuts), len(log)})
    for start, end in itertools.pairwise(edges):
        changes = fold(
            Balances.__definition__,
            log[start:end],
            lambda keys: {key: twin.load(stored[key]) for key in keys if key in stored},
        )
        stored.update(changes.upserts)
        for key in changes.deletes:
            del stored[key]
    return {key: [str(value) for value in values] for key, values in stored.items()}


@settings(max_examples=150, deadline=None)
@given(st.lists(facts, max_size=25), st.lists(st.integers(0, 100), max_size=6))
def test_rows_do_not_depend_on_where_batches_end(written, cuts):
    log = [
        Recorded("account", aggregate_id, number, event, NOW, "c", 1, 1, 0, number)
        for number, (aggregate_id, event) in enumerate(written)
    ]
    assert stored_after(log, cuts) == stored_after(log, [])
