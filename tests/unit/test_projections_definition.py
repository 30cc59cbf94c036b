"""Mistakes in a projection are found when it is defined, or checked against its app, with class, method and mend."""

from __future__ import annotations

import types
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Self

import pytest
from pydantic import Field
from sqlalchemy.orm import Mapped, mapped_column

from eventsource.app import App
from eventsource.domain import Aggregate, Command, Event, applies, creates
from eventsource.errors import DefinitionError
from eventsource.log.recorded import Recorded
from projections import Deleted, Projection, ReadModel, Rows, projects
from projections.plan import Plan

Money = Annotated[Decimal, Field(max_digits=18, decimal_places=2)]


class Opened(Event, name="opened"):
    owner: str


class Deposited(Event, name="deposited", aliases=("paid-in",)):
    amount: Money


class Moved(Event, name="moved"):
    target: str


class Foreign(Event, name="foreign"):
    pass


class Fact(Event, abstract=True):
    pass


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
    def on_others(self, event: Deposited | Moved) -> None:
        pass


class Shop(Aggregate, name="shop"):
    @creates
    @classmethod
    def open(cls, command: Open) -> Opened:
        return Opened(owner=command.owner)

    @creates
    @classmethod
    def on_opened(cls, event: Opened) -> Self:
        return cls()


class Balance(ReadModel):
    __tablename__ = "balances"
    account_id: Mapped[str] = mapped_column(primary_key=True)
    balance: Mapped[Decimal] = mapped_column(default=Decimal("0.00"))


class Line(ReadModel):
    __tablename__ = "lines"
    account_id: Mapped[str] = mapped_column(primary_key=True)
    line: Mapped[int] = mapped_column(primary_key=True)
    amount: Mapped[Decimal]


class ByTime(ReadModel):
    __tablename__ = "by_time"
    at: Mapped[datetime] = mapped_column(primary_key=True)


class Balances(Projection[Balance], name="balances"):
    @projects
    def on_opened(self, event: Opened, row: Balance) -> None:
        pass

    @projects
    def on_deposited(self, event: Deposited, row: Balance) -> None:
        row.balance += event.amount


def refused(match: str) -> Any:
    return pytest.raises(DefinitionError, match=match)


def test_a_projection_is_what_an_app_takes():
    app = App("bank", aggregates=[Account], consumers=[Balances])
    assert (Balances.consumer_name, Balances.consumer_kind) == ("balances", "projection")
    Balances.check(app)


def test_names_in_functions_are_found():
    class LocalEvent(Event, name="local-event"):
        pass

    class LocalModel(ReadModel):
        __tablename__ = "local"
        id: Mapped[str] = mapped_column(primary_key=True)

    class Local(Projection[LocalModel], name="local"):
        @projects
        def on_it(self, event: LocalEvent, row: LocalModel, why: Recorded) -> None:
            pass

    assert Local.__definition__.events == {LocalEvent}


def test_a_union_takes_several_events():
    class Both(Projection[Balance], name="both"):
        @projects
        def on_either(self, event: Opened | Deposited, row: Balance) -> Deleted | None:
            return None

    assert Both.__definition__.events == {Opened, Deposited}


def test_a_base_shares_handlers():
    class Base(Projection[Balance], abstract=True):
        @projects
        def on_opened(self, event: Opened, row: Balance) -> None:
            pass

    class Second(Base, name="second", revision=2):
        pass

    assert Second.__definition__.events == {Opened}
    assert Second.__definition__.revision == 2


def test_a_name_is_needed():
    with refused(r"projection .*Nameless has no name: write class Nameless\(…, name="):

        class Nameless(Projection[Balance]):
            pass


def test_a_name_must_be_one():
    with refused("the name of projection .*Misnamed, 'Mis Named' is not a valid name"):

        class Misnamed(Projection[Balance], name="Mis Named"):
            pass


@pytest.mark.parametrize("revision", [0, -1, True, "2", 1.0])
def test_a_revision_is_a_whole_number_from_1(revision):
    with refused("give a whole number from 1 upwards"):

        class Wrong(Projection[Balance], name="wrong", revision=revision):
            @projects
            def on_opened(self, event: Opened, row: Balance) -> None:
                pass


def test_the_model_must_be_named():
    with refused(r"does not say what it builds: write class Nothing\(Projection\[Model\]"):

        class Nothing(Projection, name="nothing"):
            pass


def test_the_model_must_be_a_read_model():
    with refused("builds <class 'int'>, which is no read model"):

        class Wrong(Projection[int], name="wrong"):
            pass


def test_a_projection_folds_something():
    with refused("Idle folds nothing: add a method with @projects"):

        class Idle(Projection[Balance], name="idle"):
            pass


def test_an_event_without_annotation():
    with refused("Wrong.on_opened: the parameter 'event' has no annotation: annotate it with the event"):

        class Wrong(Projection[Balance], name="wrong"):
            @projects
            def on_opened(self, event, row: Balance) -> None:
                pass


def test_a_row_without_annotation():
    with refused("Wrong.on_opened: the parameter 'row' has no annotation: annotate it with the read model"):

        class Wrong(Projection[Balance], name="wrong"):
            @projects
            def on_opened(self, event: Opened, row) -> None:
                pass


def test_an_event_that_is_none():
    with refused("annotated with Open, which is no event"):

        class Wrong(Projection[Balance], name="wrong"):
            @projects
            def on_open(self, event: Open, row: Balance) -> None:
                pass


def test_an_abstract_event():
    with refused("Fact is abstract: name the events themselves"):

        class Wrong(Projection[Balance], name="wrong"):
            @projects
            def on_fact(self, event: Fact, row: Balance) -> None:
                pass


def test_the_row_of_another_model():
    with refused(
        "'row' is annotated with Line, which is not the read model of the projection: annotate it with Balance"
    ):

        class Wrong(Projection[Balance], name="wrong"):
            @projects
            def on_opened(self, event: Opened, row: Line) -> None:
                pass


def test_a_third_parameter_that_is_not_recorded():
    with refused("'app' is annotated with App: besides event and row a handler gets nothing but a RecordedEvent"):

        class Wrong(Projection[Balance], name="wrong"):
            @projects
            def on_opened(self, event: Opened, row: Balance, app: App) -> None:
                pass


@pytest.mark.parametrize(
    "parameters", ["self, event", "self, event, row, recorded, more", "self, *events", "self, event, *, row"]
)
def test_parameters_of_another_form(parameters):
    namespace: dict[str, Any] = {}
    exec(f"def on_opened({parameters}): pass", namespace)
    with refused(r"on_opened takes \(.*it must take an event, a row"):
        types.new_class(
            "Wrong",
            (Projection[Balance],),
            {"name": "wrong"},
            lambda body: body.update(on_opened=projects(namespace["on_opened"])),
        )


def test_an_async_handler():
    with refused("on_opened is async, and folding is synchronous: write def"):

        class Wrong(Projection[Balance], name="wrong"):
            @projects
            async def on_opened(self, event: Opened, row: Balance) -> None:
                pass


def test_a_handler_that_yields():
    with refused("on_opened yields, and its body would never run"):

        class Wrong(Projection[Balance], name="wrong"):
            @projects
            def on_opened(self, event: Opened, row: Balance) -> Any:
                yield


def test_a_classmethod():
    with refused("put it directly above an ordinary def"):

        class Wrong(Projection[Balance], name="wrong"):
            @projects
            @classmethod
            def on_opened(cls, event: Opened, row: Balance) -> None:
                pass

    with refused("needs an ordinary method: take away @staticmethod"):

        class WrongToo(Projection[Balance], name="wrong"):
            @staticmethod
            @projects
            def on_opened(event: Opened, row: Balance) -> None:
                pass


def test_two_handlers_for_one_event():
    with refused("the methods 'one' and 'other' both fold Opened: keep one of them"):

        class Wrong(Projection[Balance], name="wrong"):
            @projects
            def one(self, event: Opened, row: Balance) -> None:
                pass

            @projects
            def other(self, event: Opened | Deposited, row: Balance) -> None:
                pass


def test_two_handlers_of_one_name():
    with refused("on_it is defined twice, and the second would replace the first"):

        class Wrong(Projection[Balance], name="wrong"):
            @projects
            def on_it(self, event: Opened, row: Balance) -> None:
                pass

            @projects  # type: ignore[no-redef]
            def on_it(self, event: Deposited, row: Balance) -> None:  # noqa: F811
                pass


def test_a_handler_that_hides_what_every_projection_has():
    with refused("Wrong.check hides what every projection has under that name: rename it"):

        class Wrong(Projection[Balance], name="wrong"):
            @projects
            def check(self, event: Opened, row: Balance) -> None:
                pass


def test_a_key_of_several_columns_needs_an_item():
    with refused(r"primary key of Line is \(account_id, line\).*with @projects\(item="):

        class Wrong(Projection[Line], name="wrong"):
            @projects
            def on_opened(self, event: Opened, row: Line) -> None:
                pass


def test_an_item_needs_a_key_of_several_columns():
    with refused("item= names rows within an aggregate, and the primary key of Balance is account_id alone"):

        class Wrong(Projection[Balance], name="wrong"):
            @projects(item=lambda event: event.owner)
            def on_opened(self, event: Opened, row: Balance) -> None:
                pass


def test_a_key_column_that_cannot_hold_an_id():
    with refused("the key is the aggregate's id, and ByTime.at cannot hold it one to one"):

        class Wrong(Projection[ByTime], name="wrong"):
            @projects
            def on_opened(self, event: Opened, row: ByTime) -> None:
                pass


def test_several_rows_need_keys():
    with refused("'rows' is Rows, and nothing says which: add keys= or items="):

        class Wrong(Projection[Balance], name="wrong"):
            @projects
            def on_opened(self, event: Opened, rows: Rows[Balance]) -> None:
                pass


def test_several_keys_need_rows():
    with refused(r"with keys= the parameter 'row' is several rows: annotate it with Rows\[Balance\]"):

        class Wrong(Projection[Balance], name="wrong"):
            @projects(keys=lambda event: [event.target])
            def on_moved(self, event: Moved, row: Balance) -> None:
                pass


def test_rows_of_another_model():
    with refused(r"'rows' is Rows\[Line\], and the projection builds Balance"):

        class Wrong(Projection[Balance], name="wrong"):
            @projects(keys=lambda event: [event.target])
            def on_moved(self, event: Moved, rows: Rows[Line]) -> None:
                pass


def test_shared_rows_need_defaults():
    class Named(ReadModel):
        __tablename__ = "named"
        id: Mapped[str] = mapped_column(primary_key=True)
        name: Mapped[str]

    with refused(
        "rows are shared between partitions, so missing ones are inserted before they are folded, and .*Named.name has no default"
    ):

        class Wrong(Projection[Named], name="wrong"):
            @projects(key=lambda event: event.target)
            def on_moved(self, event: Moved, row: Named) -> None:
                pass


def test_only_one_way_to_find_rows():
    with refused("@projects is given item and key: a method finds its rows in one way"):
        projects(item=lambda event: 1, key=lambda event: 1)
    with refused("does not know where="):
        projects(where=lambda event: 1)


def test_a_key_function_of_another_form():
    with refused("the function key= takes 3 arguments"):

        class Wrong(Projection[Balance], name="wrong"):
            @projects(key=lambda event, recorded, more: 1)
            def on_moved(self, event: Moved, row: Balance) -> None:
                pass


def test_the_events_that_are_named_must_be_those_of_the_annotation():
    with refused("@projects names Opened, the annotation of 'event' Moved: let both name the same"):

        class Wrong(Projection[Balance], name="wrong"):
            @projects(Opened, key=lambda event: event.owner)
            def on_moved(self, event: Moved, row: Balance) -> None:
                pass

    with refused("@projects names 3, which is no event class"):
        projects(Opened, 3)


def test_a_projection_keeps_no_state():
    with pytest.raises(AttributeError, match="a projection has no state but its rows"):
        Balances().count = 3


def test_an_event_that_no_aggregate_of_the_app_records():
    class Wrong(Projection[Balance], name="wrong"):
        @projects
        def on_foreign(self, event: Foreign, row: Balance) -> None:
            pass

    with refused(r"Wrong.on_foreign folds Foreign, which no aggregate of app 'bank' records"):
        Wrong.check(App("bank", aggregates=[Account], consumers=[Wrong]))


def test_two_projections_of_one_table():
    class Second(Projection[Balance], name="second"):
        @projects
        def on_opened(self, event: Opened, row: Balance) -> None:
            pass

    with refused("both write the table 'balances': give each a read model with a table of its own"):
        Second.check(App("bank", aggregates=[Account], consumers=[Balances, Second]))


def test_topics_and_types_follow_from_the_events():
    class Deposits(Projection[Balance], name="deposits"):
        @projects
        def on_deposited(self, event: Deposited, row: Balance) -> None:
            pass

    app = App("bank", aggregates=[Account, Shop], consumers=[Deposits], partitions={Account: 3})
    plan = Plan(Deposits.__definition__, app, "test")
    assert plan.types == {"test.bank.account.events": {b"deposited", b"paid-in"}}
    assert plan.partitions == [("test.bank.account.events", number) for number in range(3)]
    assert plan.group == "test.bank.projection.deposits"
    assert not plan.locked


def test_rows_that_two_aggregates_reach_are_locked():
    app = App("bank", aggregates=[Account, Shop], consumers=[Balances])
    plan = Plan(Balances.__definition__, app)
    assert set(plan.aggregates) == {"bank.account.events", "bank.shop.events"}
    assert plan.locked


def test_rows_that_two_aggregates_reach_need_defaults():
    class Named(ReadModel):
        __tablename__ = "named"
        id: Mapped[str] = mapped_column(primary_key=True)
        owner: Mapped[str]

    class Names(Projection[Named], name="names"):
        @projects
        def on_opened(self, event: Opened, row: Named) -> None:
            row.owner = event.owner

    Names.check(App("bank", aggregates=[Account], consumers=[Names]))
    with refused("may be reached from several partitions, so missing ones are inserted .*Named.owner has no default"):
        Names.check(App("bank", aggregates=[Account, Shop], consumers=[Names]))
