from __future__ import annotations

import types
from asyncio import CancelledError
from collections.abc import Collection
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Self
from uuid import UUID

import pytest
from pydantic import Field
from sqlalchemy.orm import Mapped, mapped_column

from eventsource.app import App
from eventsource.domain import Aggregate, Command, Event, applies, creates
from eventsource.errors import ProjectionFailed
from eventsource.log.recorded import Recorded
from projections import Deleted, Projection, ReadModel, Rows, projects
from projections.fold import Changes, fold
from projections.twin import Key

Money = Annotated[Decimal, Field(max_digits=18, decimal_places=2)]
NOW = datetime(2024, 1, 1, tzinfo=UTC)


class Opened(Event, name="opened"):
    owner: str


class Deposited(Event, name="deposited"):
    amount: Money


class Closed(Event, name="closed"):
    final: bool = True


class Sold(Event, name="sold"):
    items: tuple[str, ...]


class Moved(Event, name="moved"):
    source: str
    target: str
    amount: Money


class Open(Command, name="open"):
    owner: str


class Account(Aggregate, name="account"):
    @creates
    @classmethod
    def open(cls, command: Open) -> Opened:
        return Opened(owner=command.owner)

    @creates
    @classmethod
    def on_opened(cls, event: Opened) -> Self:
        return cls()

    @applies
    def on_others(self, event: Deposited | Closed | Sold | Moved) -> None:
        pass


class Balance(ReadModel):
    __tablename__ = "balances"
    account_id: Mapped[str] = mapped_column(primary_key=True)
    balance: Mapped[Decimal] = mapped_column(default=Decimal("0.00"))
    owner: Mapped[str | None]
    history: Mapped[list[str]] = mapped_column(default_factory=list)


class Balances(Projection[Balance], name="balances"):
    @projects
    def on_opened(self, event: Opened, row: Balance) -> None:
        row.owner = event.owner

    @projects
    def on_deposited(self, event: Deposited, row: Balance, recorded: Recorded) -> None:
        row.balance += event.amount
        row.history.append(str(recorded.version))

    @projects
    def on_closed(self, event: Closed, row: Balance) -> Deleted | None:
        return Deleted() if event.final else None

    @projects(Moved, keys=lambda event: (event.source, event.target))
    def on_moved(self, event: Moved, rows: Rows[Balance]) -> None:
        rows[event.source].balance -= event.amount
        rows[event.target].balance += event.amount


class Line(ReadModel):
    __tablename__ = "lines"
    account_id: Mapped[str] = mapped_column(primary_key=True)
    item: Mapped[str] = mapped_column(primary_key=True)
    sold: Mapped[int] = mapped_column(default=0)


class Lines(Projection[Line], name="lines"):
    @projects(Sold, items=lambda event: event.items)
    def on_sold(self, event: Sold, rows: Rows[Line]) -> None:
        for item in event.items:
            rows[item].sold += 1

    @projects(item=lambda event, recorded: f"v{recorded.version}")
    def on_deposited(self, event: Deposited, row: Line) -> None:
        row.sold += 1


def at(aggregate_id: str, version: int, event: Event, offset: int = 0) -> Recorded:
    return Recorded("account", aggregate_id, version, event, NOW, "c", 1, 1, 3, offset)


class Table:
    """Rows by key, and what was asked for."""

    def __init__(self, projection: Any) -> None:
        self.definition = projection.__definition__
        self.stored: dict[Key, tuple[Any, ...]] = {}
        self.asked: list[set[Key]] = []

    def load(self, keys: Collection[Key]) -> dict[Key, Any]:
        self.asked.append(set(keys))
        return {key: self.definition.twin.load(self.stored[key]) for key in keys if key in self.stored}

    def fold(self, *events: Recorded) -> Changes:
        changes = fold(self.definition, events, self.load)
        self.stored.update(changes.upserts)
        for key in changes.deletes:
            del self.stored[key]
        return changes


def test_events_are_folded_in_order_with_one_load():
    table = Table(Balances)
    table.fold(
        at("a", 1, Opened(owner="Ada")), at("a", 2, Deposited(amount=Decimal("5.00"))), at("b", 1, Opened(owner="Bea"))
    )
    table.fold(at("a", 3, Deposited(amount=Decimal("2.50"))))
    assert table.stored == {
        ("a",): ("a", Decimal("7.50"), "Ada", ["2", "3"]),
        ("b",): ("b", Decimal("0.00"), "Bea", []),
    }
    assert table.asked == [{("a",), ("b",)}, {("a",)}]


def test_only_rows_that_events_touch_are_written():
    table = Table(Balances)
    table.fold(at("a", 1, Opened(owner="Ada")), at("b", 1, Opened(owner="Bea")))
    assert set(table.fold(at("a", 2, Deposited(amount=Decimal(1)))).upserts) == {("a",)}


def test_a_row_is_deleted_and_the_next_event_meets_a_fresh_one():
    table = Table(Balances)
    table.fold(at("a", 1, Opened(owner="Ada")), at("a", 2, Closed(final=False)))
    changes = table.fold(at("a", 3, Closed()))
    assert (changes.upserts, changes.deletes, table.stored) == ({}, [("a",)], {})
    table.fold(at("a", 4, Opened(owner="Ada")))
    table.fold(at("a", 5, Closed()), at("a", 6, Deposited(amount=Decimal(1))))
    assert table.stored == {("a",): ("a", Decimal("1.00"), None, ["6"])}


def test_a_row_that_came_and_went_in_one_batch_leaves_nothing_to_do():
    changes = Table(Balances).fold(at("a", 1, Opened(owner="Ada")), at("a", 2, Closed()))
    assert (changes.upserts, changes.deletes) == ({}, [])


def test_several_rows_of_one_event():
    table = Table(Balances)
    table.fold(
        at("x", 1, Moved(source="a", target="b", amount=Decimal("2.00"))), at("a", 1, Deposited(amount=Decimal(5)))
    )
    assert {key: values[1] for key, values in table.stored.items()} == {
        ("a",): Decimal("3.00"),
        ("b",): Decimal("2.00"),
    }


def test_items_are_rows_within_the_aggregate():
    table = Table(Lines)
    table.fold(
        at("a", 1, Sold(items=("x", "y"))), at("b", 1, Sold(items=("x",))), at("a", 2, Deposited(amount=Decimal(1)))
    )
    table.fold(at("a", 3, Sold(items=("x", "x"))))
    assert table.stored == {
        ("a", "x"): ("a", "x", 3),
        ("a", "y"): ("a", "y", 1),
        ("b", "x"): ("b", "x", 1),
        ("a", "v2"): ("a", "v2", 1),
    }


def test_rows_can_be_asked_for_without_making_them():
    class Careful(Projection[Balance], name="careful"):
        @projects(Moved, keys=lambda event: [event.source, event.target])
        def on_moved(self, event: Moved, rows: Rows[Balance]) -> None:
            assert list(rows) == [event.source, event.target]
            assert len(rows) == 2
            assert rows.get(event.source) is None
            assert event.source not in rows
            rows[event.target].owner = "made"
            assert event.target in rows
            rows.delete(event.source)

    table = Table(Careful)
    table.fold(at("x", 1, Moved(source="a", target="b", amount=Decimal(1))))
    assert set(table.stored) == {("b",)}


def test_an_id_becomes_the_type_of_the_key_column():
    class Numbered(ReadModel):
        __tablename__ = "numbered"
        id: Mapped[int] = mapped_column(primary_key=True)

    class ByUuid(ReadModel):
        __tablename__ = "by_uuid"
        id: Mapped[UUID] = mapped_column(primary_key=True)

    class Numbers(Projection[Numbered], name="numbers"):
        @projects
        def on_opened(self, event: Opened, row: Numbered) -> None: ...

    class Uuids(Projection[ByUuid], name="uuids"):
        @projects
        def on_opened(self, event: Opened, row: ByUuid) -> None: ...

    identity = UUID("6c84fb90-12c4-11e1-840d-7b25c5ee775a")
    assert set(Table(Numbers).fold(at("17", 1, Opened(owner="A"))).upserts) == {(17,)}
    assert set(Table(Uuids).fold(at(str(identity), 1, Opened(owner="A"))).upserts) == {(identity,)}
    with pytest.raises(ProjectionFailed, match=r"failed on event 'opened' of 'x-1'.*ValueError: invalid literal"):
        Table(Numbers).fold(at("x-1", 1, Opened(owner="A")))


# --- what goes wrong ---------------------------------------------------------------------------------------------


def failing(handler: Any, *, model: type[ReadModel] = Balance, **keys: Any) -> Any:
    marked = projects(**keys)(handler) if keys else projects(handler)
    return types.new_class("Failing", (Projection[model],), {"name": "failing"}, lambda body: body.update(on_it=marked))


def test_a_handler_that_fails_is_named_with_event_and_position():
    def on_it(self: Any, event: Deposited, row: Balance) -> None:
        raise KeyError("nothing there")

    table = Table(failing(on_it))
    with pytest.raises(ProjectionFailed) as caught:
        table.fold(at("a", 7, Deposited(amount=Decimal(1)), offset=41))
    assert str(caught.value) == (
        "projection 'failing' stands still: Failing.on_it failed on event 'deposited' of 'a' (version 7, partition 3, offset 41) with "
        "KeyError: 'nothing there'; nothing of that batch was written: mend it and start the worker again"
    )
    assert isinstance(caught.value.__cause__, KeyError)
    assert table.stored == {}


@pytest.mark.parametrize("raised", [SystemExit(3), CancelledError()], ids=repr)
def test_a_handler_or_key_that_exits_is_named_like_any_that_fails(raised: BaseException):
    def on_it(self: Any, event: Deposited, row: Balance) -> None:
        raise raised

    def on_key(self: Any, event: Moved, rows: Rows[Balance]) -> None: ...

    def keys(event: Moved) -> list[str]:
        raise raised

    for projection, event in (
        (failing(on_it), Deposited(amount=Decimal(1))),
        (failing(on_key, keys=keys), Moved(source="a", target="b", amount=Decimal(1))),
    ):
        with pytest.raises(ProjectionFailed, match=f"failed on event .* with {type(raised).__name__}") as caught:
            Table(projection).fold(at("a", 1, event))
        assert caught.value.__cause__ is raised


def test_ctrl_c_in_a_handler_is_not_the_handlers_failure():
    def on_it(self: Any, event: Deposited, row: Balance) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Table(failing(on_it)).fold(at("a", 1, Deposited(amount=Decimal(1))))


def test_a_handler_must_not_return_a_row():
    def on_it(self: Any, event: Deposited, row: Balance) -> Balance:
        return row

    with pytest.raises(
        ProjectionFailed, match=r"change the row in place and return nothing; return Deleted\(\) deletes it"
    ):
        Table(failing(on_it)).fold(at("a", 1, Deposited(amount=Decimal(1))))


def test_a_handler_with_rows_must_not_return_deleted():
    def on_it(self: Any, event: Moved, rows: Rows[Balance]) -> Deleted:
        return Deleted()

    with pytest.raises(ProjectionFailed, match=r"rows.delete\(key\) deletes"):
        Table(failing(on_it, keys=lambda event: [event.source])).fold(
            at("a", 1, Moved(source="a", target="b", amount=Decimal(1)))
        )


def test_a_key_that_was_not_named_is_refused():
    def on_it(self: Any, event: Moved, rows: Rows[Balance]) -> None:
        rows[event.target].balance += 1

    with pytest.raises(ProjectionFailed, match=r"the key 'b' is not among those that this event named \('a'\)"):
        Table(failing(on_it, keys=lambda event: [event.source])).fold(
            at("a", 1, Moved(source="a", target="b", amount=Decimal(1)))
        )


def test_a_row_without_a_value_is_refused():
    class Strict(ReadModel):
        __tablename__ = "strict"
        id: Mapped[str] = mapped_column(primary_key=True)
        owner: Mapped[str]

    def on_it(self: Any, event: Opened | Deposited, row: Strict) -> None:
        if isinstance(event, Opened):
            row.owner = event.owner

    on_it.__annotations__["row"] = Strict
    table = Table(failing(on_it, model=Strict))
    table.fold(at("a", 1, Opened(owner="Ada")), at("a", 2, Deposited(amount=Decimal(1))))
    with pytest.raises(
        ProjectionFailed, match=r"'deposited' of 'b' \(version 1.*row \('b',\) was made without .*Strict.owner: set it"
    ):
        table.fold(at("b", 1, Deposited(amount=Decimal(1))), at("a", 3, Deposited(amount=Decimal(1))))


def test_a_row_keeps_its_key():
    def on_it(self: Any, event: Deposited, row: Balance) -> None:
        row.account_id = "z"

    with pytest.raises(
        ProjectionFailed, match=r"the key of the row \('a',\) was changed to \('z',\): a row keeps its key"
    ):
        Table(failing(on_it)).fold(at("a", 1, Deposited(amount=Decimal(1))))


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (3, "is a int, not a str"),
        (("a", "b"), "has 2 values, and the primary key of Balance is"),
        (None, "is a NoneType, not a str"),
    ],
)
def test_a_key_of_another_type_is_refused_for_it_would_not_be_found_again(key, message):
    def on_it(self: Any, event: Deposited, row: Balance) -> None: ...

    with pytest.raises(ProjectionFailed, match=message):
        Table(failing(on_it, key=lambda event: key)).fold(at("a", 1, Deposited(amount=Decimal(1))))


def test_a_time_without_zone_is_no_key():
    class ByTime(ReadModel):
        __tablename__ = "by_time"
        at: Mapped[datetime] = mapped_column(primary_key=True)

    def on_it(self: Any, event: Deposited, row: ByTime) -> None: ...

    on_it.__annotations__["row"] = ByTime
    with pytest.raises(ProjectionFailed, match="has no time zone"):
        Table(failing(on_it, model=ByTime, key=lambda event: datetime(2024, 1, 1))).fold(
            at("a", 1, Deposited(amount=Decimal(1)))
        )


def test_several_keys_are_not_one_text():
    def on_it(self: Any, event: Deposited, rows: Rows[Balance]) -> None: ...

    with pytest.raises(ProjectionFailed, match="'abc' was returned where several keys are wanted"):
        Table(failing(on_it, keys=lambda event: "abc")).fold(at("a", 1, Deposited(amount=Decimal(1))))


# --- in memory ---------------------------------------------------------------------------------------------------


def test_in_memory_rows_are_models_in_the_order_in_which_they_came():
    memory = Balances.in_memory(App("bank", aggregates=[Account], consumers=[Balances]))
    memory.handle(
        [at("b", 1, Opened(owner="Bea")), at("a", 1, Opened(owner="Ada")), at("b", 2, Deposited(amount=Decimal(5)))]
    )
    assert memory.rows() == [
        Balance(account_id="b", balance=Decimal("5.00"), owner="Bea", history=["2"]),
        Balance(account_id="a", owner="Ada"),
    ]


def test_in_memory_a_handler_that_fails_changes_nothing():
    class Fragile(Projection[Balance], name="fragile"):
        @projects
        def on_deposited(self, event: Deposited, row: Balance) -> None:
            row.history.append("x")
            if event.amount > 1:
                raise ValueError("too much")

    memory = Fragile.in_memory(App("bank", aggregates=[Account], consumers=[Fragile]))
    memory.handle([at("a", 1, Deposited(amount=Decimal(1))), at("a", 2, Opened(owner="nobody here folds it"))])
    before = memory.rows()
    with pytest.raises(ProjectionFailed, match="too much"):
        memory.handle([at("a", 3, Deposited(amount=Decimal(2)))])
    assert memory.rows() == before == [Balance(account_id="a", owner=None, history=["x"])]
