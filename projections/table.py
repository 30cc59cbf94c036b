"""The table of a read model in Postgres: made from the model's columns, and recognised by their shape."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from psycopg import sql
from sqlalchemy import Index, MetaData, Table
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.schema import ColumnCollectionConstraint, CreateIndex, CreateTable

from eventsource.consuming.catalog import relation_exists
from eventsource.consuming.database import PgConnection
from projections.read_model import ReadModel

# SQLAlchemy's own text for types and tables, without an engine. Its parameters are never used.
DIALECT = PGDialect_psycopg()  # type: ignore[no-untyped-call]  # SQLAlchemy left it so


class ModelTable:
    """The table of one read model in one Postgres schema."""

    def __init__(self, model: type[ReadModel], schema: str) -> None:
        self.schema = schema
        self.name = model.__tablename__
        self.identifier = sql.Identifier(schema, self.name)
        self._table = model.__table__.to_metadata(MetaData(), schema=schema)
        self.shape = sha256(shape_text(self._table).encode()).hexdigest()
        """A digest of columns, types, keys and constraints; indexes and defaults may change without a rebuild."""
        self.has_deferred_constraints = any(
            constraint.initially is not None and constraint.initially.upper() == "DEFERRED"
            for constraint in self._table.constraints
        )

    def exists(self, connection: PgConnection) -> bool:
        """Whether a table (or view) has that name."""
        return relation_exists(connection, self.schema, self.name)

    def create(self, connection: PgConnection) -> None:
        """Makes the table; it must not exist. The indexes are `create_indexes`'."""
        connection.execute(_statement(CreateTable(self._table)))

    def create_indexes(self, connection: PgConnection) -> None:
        """Makes the indexes that are missing."""
        for index in sorted(self._table.indexes, key=_index_name):
            statement = CreateIndex(index)
            if not relation_exists(connection, self.schema, DIALECT.identifier_preparer.format_index(index).strip('"')):
                connection.execute(_statement(statement))

    def truncate(self, connection: PgConnection) -> None:
        """Deletes all rows."""
        connection.execute(sql.SQL("TRUNCATE TABLE {}").format(self.identifier))

    def count(self, connection: PgConnection) -> int:
        """How many rows it has."""
        row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(self.identifier)).fetchone()
        return int(row[0]) if row else 0

    def analyze(self, connection: PgConnection) -> None:
        """Tells the planner what the table holds: worth it after many rows came at once."""
        connection.execute(sql.SQL("ANALYZE {}").format(self.identifier))


def shape_text(table: Table) -> str:
    """What makes two tables interchangeable, as text."""
    columns = [
        f"{column.name} {type_text(column.type)} {'null' if column.nullable else 'not null'}"
        for column in table.columns
    ]
    key = ", ".join(column.name for column in table.primary_key.columns)
    constraints = sorted(
        f"{type(constraint).__name__} {', '.join(column.name for column in constraint.columns)} {getattr(constraint, 'sqltext', '')}"
        for constraint in table.constraints
        if isinstance(constraint, ColumnCollectionConstraint) and constraint is not table.primary_key
    )
    return "\n".join([table.name, *columns, f"primary key ({key})", *constraints])


def type_text(type_: Any) -> str:
    """A column type as Postgres writes it."""
    return str(type_.compile(dialect=DIALECT))


def _statement(element: Any) -> sql.SQL:
    # made of the model's own names by SQLAlchemy, which quotes them
    return sql.SQL(str(element.compile(dialect=DIALECT)).strip().replace("%%", "%"))


def _index_name(index: Index) -> str:
    return str(index.name)
