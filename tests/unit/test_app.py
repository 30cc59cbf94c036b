"""What an app is made of: every class, key and number that it is given is checked, each with its own error."""

from __future__ import annotations

from typing import Any, Self
from uuid import UUID

import pytest
from sqlalchemy.orm import Mapped, mapped_column

from eventsource import Aggregate, App, Command, Event, creates
from eventsource.errors import DefinitionError, InvalidArgument
from eventsource.testing import TestApp
from projections import Projection, ReadModel, Rows, projects
from tests.creatable import Creatable


class Begin(Command, name="begin"):
    pass


class Begun(Event, name="begun"):
    pass


class Order(Aggregate, name="order"):
    @creates
    @classmethod
    def begin(cls, command: Begin) -> Begun:
        return Begun()

    @creates
    @classmethod
    def on_begun(cls, event: Begun) -> Self:
        return cls()


class Item(Creatable, name="item"):
    pass


class Base(Creatable, abstract=True):
    pass


class StockLevel(ReadModel):
    __tablename__ = "stock"
    id: Mapped[str] = mapped_column(primary_key=True)


class StockLevels(Projection[StockLevel], name="stock-levels"):
    @projects
    def on_begun(self, event: Begun, row: StockLevel) -> None: ...


class Shared(Projection[StockLevel], abstract=True):
    pass


def app(**arguments: Any) -> App:
    return App(**{"name": "shop", "aggregates": [Order], **arguments})


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": None}, r"app None is not a valid name"),
    ({"aggregates": Order}, r"aggregates=Order: give a list of classes, such as aggregates=\[…\]"),
    ({"aggregates": "order"}, r"aggregates='order': give a list of classes"),
    ({"aggregates": None}, r"aggregates=None: give a list of classes"),
    ({"aggregates": ["order"]}, r"aggregates names 'order', which is no aggregate class: give subclasses"),
    ({"aggregates": [Begun]}, r"aggregates names Begun, which is no aggregate class"),
    ({"aggregates": [Order()]}, r"which is no aggregate class: give the class, Order"),
    ({"aggregates": [Base]}, r"Base is an abstract aggregate: give a class that has a name"),
    ({"aggregates": [StockLevels]}, r"aggregates names StockLevels, which is no aggregate class"),
    ({"aggregates": [Order, Order]}, r"aggregate name 'order' is used by"),
    ({"consumers": StockLevels}, r"consumers=StockLevels: give a list of classes"),
    (
        {"consumers": [Begun]},
        r"consumers names Begun, which is no consumer: give a projection with a method that takes it",
    ),
    ({"consumers": [Begin]}, r"consumers names Begin, which is no consumer: give a projection"),
    ({"consumers": [Order]}, r"consumers names Order, which is no consumer: add it to aggregates"),
    (
        {"consumers": [StockLevel]},
        r"consumers names StockLevel, .*: it is a read model: give the projection that builds it",
    ),
    ({"consumers": [Shared]}, r"consumers names Shared, .*: it is abstract: give a class that has a name"),
    (
        {"consumers": ["stock-levels"]},
        r"consumers names 'stock-levels', which is no consumer: give classes of projections",
    ),
    ({"consumers": [StockLevels], "aggregates": [Item]}, r"folds Begun, which no aggregate of app 'shop' records"),
    (
        {"partitions": {"order": 4}},
        r"partitions names 'order', which is none of its aggregate classes: give the class, Order",
    ),
    ({"partitions": {"basket": 4}}, r"partitions names 'basket', .*: give one of Order"),
    ({"partitions": {Item: 4}}, r"partitions names Item, .*: add it to aggregates, or leave it out"),
    ({"partitions": {Order: 0}}, r"the number of partitions of Order is 0: give a whole number from 1 upwards"),
    ({"partitions": {Order: "4"}}, r"the number of partitions of Order is '4'"),
    ({"partitions": {Order: True}}, r"the number of partitions of Order is True"),
    ({"partitions": 0}, r"the number of partitions of each aggregate is 0"),
    ({"partitions": True}, r"the number of partitions of each aggregate is True"),
    ({"partitions": 4.0}, r"the number of partitions of each aggregate is 4.0"),
    ({"partitions": [4]}, r"the number of partitions of each aggregate is \[4\]"),
    ({"remember_commands_forever": ["order"]}, r"remember_commands_forever names 'order', .*: give the class, Order"),
    ({"remember_commands_forever": "order"}, r"remember_commands_forever='order': give a list of classes"),
    ({"remember_commands_forever": Order}, r"remember_commands_forever=Order: give a list of classes"),
    ({"remember_commands_forever": [Item]}, r"remember_commands_forever names Item, .*: add it to aggregates"),
    ({"remember_commands_forever": True}, r"remember_commands_forever=True: give a list of classes"),
]


@pytest.mark.parametrize(("arguments", "text"), WRONG, ids=[text[:50] for _, text in WRONG])
def test_what_an_app_cannot_be_made_of_is_refused_when_it_is_defined(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(DefinitionError, match=text):
        app(**arguments)


def test_what_an_app_is_given_counts() -> None:
    made = app(
        aggregates=(Order, Item), consumers=[StockLevels], partitions={Order: 4}, remember_commands_forever={Item}
    )
    assert (made.partitions_of(Order), made.partitions_of(Item)) == (4, 8)
    assert made.remember_commands_forever == {Item}
    assert app(partitions=3).partitions_of(Order) == 3
    given = {Order: 4}
    made = app(partitions=given)
    given[Order] = 5
    assert made.partitions_of(Order) == 4


# --- reading ------------------------------------------------------------------------------------------------------


def test_a_row_class_in_place_of_its_projection_is_refused_with_the_projection() -> None:
    test_app = TestApp(app(consumers=[StockLevels]))
    with pytest.raises(InvalidArgument, match=r"StockLevel is the class of a row: give the projection .*, StockLevels"):
        test_app.rows(StockLevel)  # type: ignore[arg-type]
    assert test_app.rows(StockLevels) == []


# --- keys that an aggregate's id fills ----------------------------------------------------------------------------


def keyed(type_: Any, ids: Any, **keys: Any) -> App:
    class Box(Aggregate, name="box", ids=ids):
        @creates
        @classmethod
        def begin(cls, command: Begin) -> Begun:
            return Begun()

        @creates
        @classmethod
        def on_begun(cls, event: Begun) -> Self:
            return cls()

    class Line(ReadModel):
        __tablename__ = "lines"
        id: Mapped[type_] = mapped_column(primary_key=True)
        if "item" in keys or "items" in keys:
            line: Mapped[int] = mapped_column(primary_key=True)

    wanted: Any = Rows[Line] if "items" in keys else Line

    class Lines(Projection[Line], name="lines"):
        @projects(**keys)
        def on_begun(self, event: Begun, row: wanted) -> None: ...

    return App("shop", aggregates=[Box], consumers=[Lines])


KEYS: list[dict[str, Any]] = [{}, {"item": lambda event: 1}, {"items": lambda event: [1]}]


@pytest.mark.parametrize("keys", KEYS, ids=["id", "item", "items"])
@pytest.mark.parametrize(
    ("type_", "ids"), [(int, None), (int, str), (int, UUID), (UUID, None), (UUID, int), (UUID, ".+")]
)
def test_a_key_that_not_every_id_can_fill_is_refused(type_: Any, ids: Any, keys: dict[str, Any]) -> None:
    with pytest.raises(
        DefinitionError,
        match=rf"Lines.on_begun: the ids of Box fill .*Line.id, which is {type_.__name__}, .*class Box\(…, ids={type_.__name__}\)",
    ):
        keyed(type_, ids, **keys)


@pytest.mark.parametrize("keys", KEYS, ids=["id", "item", "items"])
@pytest.mark.parametrize(
    ("type_", "ids", "id_"),
    [(int, int, "7"), (UUID, UUID, str(UUID(int=7))), (str, None, "x"), (str, UUID, str(UUID(int=7))), (str, int, "7")],
)
def test_a_key_that_every_id_fills_is_filled(type_: Any, ids: Any, id_: str, keys: dict[str, Any]) -> None:
    made = keyed(type_, ids, **keys)
    test_app = TestApp(made)
    test_app.send(made.aggregates["box"], id_, Begin())
    if "items" not in keys:
        assert [row.id for row in test_app.rows(made.consumers["lines"])] == [type_(id_)]


def test_a_key_of_ones_own_asks_for_no_form_of_the_ids() -> None:
    keyed(int, None, key=lambda event: 7)
