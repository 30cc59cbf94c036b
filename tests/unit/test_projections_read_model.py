from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, ClassVar
from uuid import UUID

import pytest
from sqlalchemy import Computed, ForeignKey, Index, Numeric, String, Text
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.schema import CreateTable

from eventsource.errors import DefinitionError
from projections import ReadModel
from projections.table import ModelTable, shape_text, type_text


class Colour(Enum):
    RED = "r"
    BLUE = "b"


class Everything(ReadModel):
    __tablename__ = "everything"
    LIMIT: ClassVar[int] = 3
    id: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int]
    flag: Mapped[bool]
    ratio: Mapped[float]
    amount: Mapped[Decimal]
    at: Mapped[datetime]
    day: Mapped[date]
    hour: Mapped[time]
    lasting: Mapped[timedelta]
    raw: Mapped[bytes]
    identity: Mapped[UUID]
    colour: Mapped[Colour]
    tags: Mapped[dict[str, int]]
    lines: Mapped[list[dict[str, Any]]]
    maybe: Mapped[Decimal | None]
    maybe_tags: Mapped[dict[str, Any] | None]
    noted: Mapped[Annotated[str, 7]]
    short: Mapped[str] = mapped_column(String(10))
    rounded: Mapped[Decimal] = mapped_column(Numeric(18, 2))


def test_types_are_exact_unless_the_column_says_otherwise():
    assert {column.name: type_text(column.type) for column in Everything.__table__.columns} == {
        "id": "TEXT",
        "number": "BIGINT",
        "flag": "BOOLEAN",
        "ratio": "DOUBLE PRECISION",
        "amount": "NUMERIC",
        "at": "TIMESTAMP WITH TIME ZONE",
        "day": "DATE",
        "hour": "TIME WITHOUT TIME ZONE",
        "lasting": "INTERVAL",
        "raw": "BYTEA",
        "identity": "UUID",
        "colour": "VARCHAR(255)",
        "tags": "JSONB",
        "lines": "JSONB",
        "maybe": "NUMERIC",
        "maybe_tags": "JSONB",
        "noted": "TEXT",
        "short": "VARCHAR(10)",
        "rounded": "NUMERIC(18, 2)",
    }
    assert {column.name for column in Everything.__table__.columns if column.nullable} == {"maybe", "maybe_tags"}


def test_models_compare_by_value_and_take_keywords_only():
    class Balance(ReadModel):
        __tablename__ = "balances"
        account_id: Mapped[str] = mapped_column(primary_key=True)
        balance: Mapped[Decimal] = mapped_column(default=Decimal("0.00"))
        owner: Mapped[str]

    assert Balance(account_id="a", owner="Ada") == Balance(account_id="a", owner="Ada", balance=Decimal(0))
    assert Balance(account_id="a", owner="Ada") != Balance(account_id="b", owner="Ada")
    with pytest.raises(TypeError):
        Balance("a")


def make_twice() -> list[type[ReadModel]]:
    found = []
    for _ in range(2):

        class Local(Enum):
            ONE = 1

        class Same(ReadModel):
            __tablename__ = "same"
            id: Mapped[str] = mapped_column(primary_key=True)
            kind: Mapped[Local] = mapped_column(default=Local.ONE)

        found.append(Same)
    return found


def test_two_models_may_have_one_table_name_and_types_of_their_function():
    one, other = make_twice()
    assert one.__table__ is not other.__table__
    assert one(id="x") == one(id="x")
    assert one(id="x") != other(id="x")


def test_an_abstract_base_shares_columns():
    class Base(ReadModel):
        __abstract__ = True
        id: Mapped[str] = mapped_column(primary_key=True)
        seen: Mapped[int] = mapped_column(default=0)

    class One(Base):
        __tablename__ = "one"
        more: Mapped[str]

    class Two(Base):
        __tablename__ = "two"

    assert One(id="x", more="y").seen == 0
    assert set(Two.__table__.columns.keys()) == {"id", "seen"}


def refused(match: str) -> Any:
    return pytest.raises(DefinitionError, match=match)


def test_a_model_without_primary_key_is_refused():
    with refused(r"Bare has no primary key: mark the column"):

        class Bare(ReadModel):
            __tablename__ = "bare"
            name: Mapped[str]


def test_a_model_without_table_is_refused():
    with refused("NoTable has no table: give it `__tablename__"):

        class NoTable(ReadModel):
            id: Mapped[str] = mapped_column(primary_key=True)


def test_an_annotation_that_is_no_column_is_refused():
    with refused(r"Plain.name is annotated with <class 'str'>, which is no column: write Mapped"):

        class Plain(ReadModel):
            __tablename__ = "plain"
            id: Mapped[str] = mapped_column(primary_key=True)
            name: str


def test_an_unknown_name_in_an_annotation_is_refused():
    with refused(r"Missing.name: the annotation .* names 'Nowhere'"):

        class Missing(ReadModel):
            __tablename__ = "missing"
            id: Mapped[str] = mapped_column(primary_key=True)
            name: Mapped[Nowhere]  # noqa: F821


def test_a_type_without_a_column_type_is_refused():
    with refused("Odd cannot be a read model: .*complex"):

        class Odd(ReadModel):
            __tablename__ = "odd"
            id: Mapped[str] = mapped_column(primary_key=True)
            value: Mapped[complex]


def test_a_schema_of_ones_own_is_refused():
    with refused("Elsewhere names the schema 'other': leave it out"):

        class Elsewhere(ReadModel):
            __tablename__ = "elsewhere"
            __table_args__: ClassVar[Any] = {"schema": "other"}
            id: Mapped[str] = mapped_column(primary_key=True)


def test_the_frameworks_table_names_are_refused():
    with refused("begin with 'eventsource_' are the framework's own"):

        class Reserved(ReadModel):
            __tablename__ = "eventsource_positions"
            id: Mapped[str] = mapped_column(primary_key=True)


def test_a_name_that_postgres_would_cut_is_refused():
    with refused("is longer than the 63 bytes that Postgres takes: shorten it"):

        class Long(ReadModel):
            __tablename__ = "t" * 64
            id: Mapped[str] = mapped_column(primary_key=True)


@pytest.mark.parametrize("target", ["others.id", Everything.__table__.c.id], ids=["by name", "by column"])
def test_a_foreign_key_to_another_table_is_refused(target):
    with refused(
        r"Child.parent has a foreign key to (others|everything)\.id: every read model is written and rebuilt on its own"
    ):

        class Child(ReadModel):
            __tablename__ = "child"
            id: Mapped[str] = mapped_column(primary_key=True)
            parent: Mapped[str | None] = mapped_column(Text(), ForeignKey(target))


def test_a_foreign_key_to_the_table_itself_is_its_own_affair():
    class Tree(ReadModel):
        __tablename__ = "tree"
        id: Mapped[str] = mapped_column(primary_key=True)
        parent: Mapped[str | None] = mapped_column(ForeignKey("tree.id"))

    assert "REFERENCES s.tree (id)" in str(CreateTable(ModelTable(Tree, "s")._table))


def test_a_column_that_the_database_fills_is_refused():
    with refused("Filled.twice is filled by the database"):

        class Filled(ReadModel):
            __tablename__ = "filled"
            id: Mapped[str] = mapped_column(primary_key=True)
            n: Mapped[int]
            twice: Mapped[int] = mapped_column(Computed("n * 2"))


def test_a_model_of_a_model_is_refused():
    class First(ReadModel):
        __tablename__ = "first"
        id: Mapped[str] = mapped_column(primary_key=True)

    with refused("Second inherits from the read model .*First: put what they share into a base"):

        class Second(First):
            __tablename__ = "second"


def shape_with(**columns: Any) -> str:
    model = type(
        "Shaped",
        (ReadModel,),
        {
            "__tablename__": "shaped",
            "__module__": __name__,
            "__annotations__": {name: annotation for name, (annotation, _) in columns.items()},
            **{name: column for name, (_, column) in columns.items() if column is not None},
        },
    )
    return ModelTable(model, "s").shape


def test_the_shape_tells_types_keys_and_nullability_apart_but_not_indexes_and_defaults():
    base = {"id": (Mapped[str], mapped_column(primary_key=True)), "n": (Mapped[int], None)}

    def column(annotation: Any, **arguments: Any) -> dict[str, Any]:
        return {"id": (Mapped[str], mapped_column(primary_key=True)), "n": (annotation, mapped_column(**arguments))}

    shape = shape_with(**base)
    assert shape == shape_with(**column(Mapped[int], index=True))
    assert shape == shape_with(**column(Mapped[int], default=5))
    assert shape != shape_with(**column(Mapped[str]))
    assert shape != shape_with(**column(Mapped[int | None]))
    assert shape != shape_with(**column(Mapped[int], primary_key=True))
    assert shape != shape_with(**column(Mapped[int], unique=True))


def test_the_shape_is_readable_text():
    class Indexed(ReadModel):
        __tablename__ = "indexed"
        __table_args__ = (Index("by_n", "n"),)
        id: Mapped[str] = mapped_column(primary_key=True)
        n: Mapped[int]

    assert shape_text(Indexed.__table__) == "indexed\nid TEXT not null\nn BIGINT not null\nprimary key (id)"
