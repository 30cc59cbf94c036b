"""The table of a read model in Postgres: made from the model's columns, and recognised by their shape."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any, Final

from psycopg import sql
from sqlalchemy import MetaData, Table
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.schema import ColumnCollectionConstraint, CreateIndex, CreateTable

from eventsource.consuming.catalog import relation_exists
from eventsource.consuming.database import PgConnection
from projections.read_model import ReadModel

# SQLAlchemy's own text for types and tables, without an engine. Its parameters are never used.
DIALECT = PGDialect_psycopg()  # type: ignore[no-untyped-call]  # SQLAlchemy left it so

_CREATE: Final = re.compile(r"^CREATE( \w+)? TABLE ")  # UNLOGGED, say


class ModelTable:
    """The table of one read model in one Postgres schema."""

    def __init__(self, model: type[ReadModel], schema: str) -> None:
        self.schema = schema
        self.name = model.__tablename__
        self.identifier = sql.Identifier(schema, self.name)
        self._unplaced = _with_given_keys(model.__table__.to_metadata(MetaData()))
        self._table = _with_given_keys(model.__table__.to_metadata(MetaData(), schema=schema))
        self.shape = sha256(shape_text(self._table).encode()).hexdigest()
        """A digest of columns, types, keys and constraints; indexes and defaults may change without a rebuild."""
        self.constraint_names = frozenset(
            constraint.name for constraint in self._table.constraints if isinstance(constraint.name, str)
        )
        """Those that the class gives itself; Postgres makes up the others."""
        self.key_names = frozenset(column.name for column in self._table.primary_key.columns)
        self._indexes = {
            DIALECT.identifier_preparer.format_index(index).strip('"'): index for index in self._table.indexes
        }
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
        for name in sorted(self._indexes):
            if not relation_exists(connection, self.schema, name):
                connection.execute(self.create_index(name))

    def create_temporary(self, connection: PgConnection) -> None:
        """Makes a temporary table of the same columns, constraints and indexes, for its catalog entries."""
        # The model's own table is in no schema: its statement makes a temporary one. Generated names of indexes contain the schema.
        connection.execute(sql.SQL(_CREATE.sub("CREATE TEMPORARY TABLE ", _text(CreateTable(self._unplaced)), count=1)))
        placed, unplaced = (DIALECT.identifier_preparer.format_table(table) for table in (self._table, self._unplaced))
        for index in self._indexes.values():
            statement = _text(CreateIndex(index)).replace(f" ON {placed} ", f" ON pg_temp.{unplaced} ", 1)
            connection.execute(sql.SQL(statement))

    # --- statements that change it --------------------------------------------------------------------------------

    def create_index(self, name: str) -> sql.Composed:
        """The statement that makes the index of that name."""
        return sql.Composed([_statement(CreateIndex(self._indexes[name]))])

    def drop_index(self, name: str) -> sql.Composed:
        """The statement that drops an index of the table."""
        return sql.SQL("DROP INDEX {}").format(sql.Identifier(self.schema, name))

    def add_constraint(self, name: str, definition: str) -> sql.Composed:
        """The statement that adds a constraint, defined as the catalog shows it; `itself` is the table.

        Postgres chooses the name where the class gives none: the table may use the generated one for another constraint.
        """
        before, references, after = definition.partition("REFERENCES itself(")
        # the catalog's own text of the class's constraint
        parts: list[sql.Composable] = [sql.SQL(before)]
        if references:
            parts += [sql.SQL("REFERENCES "), self.identifier, sql.SQL("("), sql.SQL(after)]
        if name not in self.constraint_names:
            return self._alter(sql.SQL("ADD {}").format(sql.Composed(parts)))
        return self._alter(sql.SQL("ADD CONSTRAINT {} {}").format(sql.Identifier(name), sql.Composed(parts)))

    def drop_constraint(self, name: str) -> sql.Composed:
        """The statement that drops a constraint of the table."""
        return self._alter(sql.SQL("DROP CONSTRAINT {}").format(sql.Identifier(name)))

    def drop_column(self, name: str) -> sql.Composed:
        """The statement that drops a column of the table."""
        return self._alter(sql.SQL("DROP COLUMN {}").format(sql.Identifier(name)))

    def set_default(self, column: str, expression: str | None) -> sql.Composed:
        """The statement that sets a column's default to an expression as the catalog shows it, or takes it away."""
        change = sql.SQL("DROP DEFAULT") if expression is None else sql.SQL("SET DEFAULT ") + sql.SQL(expression)
        return self._alter(sql.SQL("ALTER COLUMN {} {}").format(sql.Identifier(column), change))

    def _alter(self, change: sql.Composed) -> sql.Composed:
        return sql.SQL("ALTER TABLE {} {}").format(self.identifier, change)

    # --- rows ------------------------------------------------------------------------------------------------------

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


def _with_given_keys(table: Table) -> Table:
    # A projection gives every key. Without this SQLAlchemy makes a single integer key SERIAL.
    for column in table.columns:
        column.autoincrement = False
    return table


def _text(element: Any) -> str:
    return str(element.compile(dialect=DIALECT)).strip().replace("%%", "%")


def _statement(element: Any) -> sql.SQL:
    # made of the model's own names by SQLAlchemy, which quotes them
    return sql.SQL(_text(element))
