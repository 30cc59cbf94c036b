from __future__ import annotations

from decimal import Decimal
from typing import ClassVar
from uuid import UUID

import pytest
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, column_property, mapped_column, validates

from eventsource.errors import DefinitionError
from projections import ReadModel
from projections.twin import ID_CONVERTERS, twin_of


class Stock(ReadModel):
    """How much of a thing there is."""

    __tablename__ = "stock"
    SCARCE: ClassVar[int] = 3
    shop: Mapped[str] = mapped_column(primary_key=True)
    item: Mapped[int] = mapped_column("item_number", primary_key=True)
    name: Mapped[str]
    pieces: Mapped[int] = mapped_column(default=0)
    price: Mapped[Decimal | None]
    tags: Mapped[dict[str, int]] = mapped_column(default_factory=dict)
    places: Mapped[int] = mapped_column(default=1, init=False)

    def take(self, count: int) -> None:
        self.pieces -= count

    @property
    def scarce(self) -> bool:
        return self.pieces < self.SCARCE

    @hybrid_property
    def double(self) -> int:
        return self.pieces * 2

    @classmethod
    def label(cls) -> str:
        return "stock"

    @staticmethod
    def unit() -> str:
        return "piece"


@pytest.fixture
def twin():
    return twin_of(Stock)


def test_a_new_row_has_its_key_and_the_defaults(twin):
    row = twin.new(("s", 7))
    assert (row.shop, row.item, row.pieces, row.price, row.tags, row.places) == ("s", 7, 0, None, {}, 1)


def test_each_new_row_has_a_default_of_its_own(twin):
    first, second = twin.new(("s", 1)), twin.new(("s", 2))
    first.tags["x"] = 1
    assert second.tags == {}


def test_a_column_without_default_is_not_there_before_it_is_set(twin):
    row = twin.new(("s", 7))
    with pytest.raises(AttributeError, match="name"):
        _ = row.name
    with pytest.raises(AttributeError):
        twin.values(row)


def test_methods_properties_and_constants_of_the_model_work(twin):
    row = twin.new(("s", 7))
    row.take(-2)
    assert (row.pieces, row.scarce, row.double, row.label(), row.unit(), row.SCARCE) == (
        2,
        True,
        4,
        "stock",
        "piece",
        3,
    )


def test_an_attribute_that_the_model_does_not_have_cannot_be_set(twin):
    with pytest.raises(AttributeError, match="peices"):
        twin.new(("s", 7)).peices = 3


def test_rows_compare_and_show_their_values(twin):
    row, same = twin.new(("s", 7)), twin.new(("s", 7))
    assert row == same
    same.pieces = 1
    assert row != same
    assert repr(row) == "StockRow(shop='s', item=7, pieces=0, price=None, tags={}, places=1)"
    with pytest.raises(TypeError, match="unhashable"):
        hash(row)


def test_values_and_key_come_in_the_tables_order_and_make_the_row_again(twin):
    row = twin.new(("s", 7))
    row.name = "nail"
    assert [column.name for column in twin.columns] == [
        "shop",
        "item_number",
        "name",
        "pieces",
        "price",
        "tags",
        "places",
    ]
    assert twin.values(row) == ("s", 7, "nail", 0, None, {}, 1)
    assert twin.key(row) == ("s", 7)
    assert twin.load(twin.values(row)) == row


def test_a_row_becomes_the_model_that_a_user_would_make(twin):
    row = twin.new(("s", 7))
    row.name = "nail"
    row.places = 4
    expected = Stock(shop="s", item=7, name="nail", price=None)
    expected.places = 4
    assert twin.to_model(row) == expected


def test_a_table_of_one_column_works():
    class Seen(ReadModel):
        __tablename__ = "seen"
        id: Mapped[str] = mapped_column(primary_key=True)

    twin = twin_of(Seen)
    row = twin.new(("x",))
    assert twin.values(row) == twin.key(row) == ("x",)


def test_a_column_property_is_left_to_queries():
    class Priced(ReadModel):
        __tablename__ = "priced"
        id: Mapped[str] = mapped_column(primary_key=True)
        n: Mapped[int] = mapped_column(default=0)

    Priced.twice = column_property(Priced.__table__.c.n * 2)
    assert [column.attribute for column in twin_of(Priced).columns] == ["id", "n"]


def test_validators_that_a_fold_would_never_run_are_refused():
    class Checked(ReadModel):
        __tablename__ = "checked"
        id: Mapped[str] = mapped_column(primary_key=True)
        n: Mapped[int]

        @validates("n")
        def check(self, key: str, value: int) -> int:
            return value

    with pytest.raises(DefinitionError, match=r"Checked validates 'n'.*check in the aggregate"):
        twin_of(Checked)


def test_a_post_init_that_a_fold_would_never_run_is_refused():
    class After(ReadModel):
        __tablename__ = "after"
        id: Mapped[str] = mapped_column(primary_key=True)

        def __post_init__(self) -> None: ...

    with pytest.raises(DefinitionError, match="After has a __post_init__"):
        twin_of(After)


def test_a_default_that_only_sqlalchemy_could_compute_is_refused():
    class Computed(ReadModel):
        __tablename__ = "computed"
        id: Mapped[str] = mapped_column(primary_key=True)
        n: Mapped[int] = mapped_column(insert_default=lambda: 3)

    with pytest.raises(DefinitionError, match=r"Computed.n has a default that the database or SQLAlchemy computes"):
        twin_of(Computed)


@pytest.mark.parametrize("text", ["007", "+7", " 7", "7.0", "x", "१"])
def test_an_id_is_a_number_only_in_its_plain_form(text):
    with pytest.raises(ValueError, match=r"."):
        ID_CONVERTERS[int](text)
    assert ID_CONVERTERS[int]("-7") == -7


def test_an_id_is_a_uuid_only_in_its_canonical_form():
    text = "6c84fb90-12c4-11e1-840d-7b25c5ee775a"
    assert ID_CONVERTERS[UUID](text) == UUID(text)
    with pytest.raises(ValueError, match="canonical"):
        ID_CONVERTERS[UUID](text.upper())
