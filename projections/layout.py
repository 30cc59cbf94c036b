"""Layouts: the columns, constraints and indexes that a table has, those that its read model asks for, and the differences.

What a read model asks for is asked of Postgres itself: a temporary table is made of it, read from the catalog and rolled back.
So expressions, types and generated names are compared in one form.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg import sql

from eventsource.consuming.database import PgConnection
from projections.table import ModelTable

_COLUMNS: Final = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod)
    || coalesce((SELECT ' COLLATE ' || quote_ident(c.collname) FROM pg_collation c
                 WHERE c.oid = a.attcollation AND a.attcollation <> t.typcollation), '')
    || CASE WHEN a.attgenerated <> '' OR a.attidentity <> '' THEN ' GENERATED' ELSE '' END,
    a.attnotnull, pg_get_expr(d.adbin, d.adrelid)
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
# A foreign key to the table itself is shown without the table's name, which the temporary table has in another schema.
_CONSTRAINTS: Final = """
SELECT conname, CASE WHEN confrelid = conrelid
    THEN regexp_replace(pg_get_constraintdef(oid), 'REFERENCES [^(]+\\(', 'REFERENCES itself(') ELSE pg_get_constraintdef(oid) END
FROM pg_constraint WHERE conrelid = %s::regclass AND contype IN ('p', 'u', 'c', 'f', 'x') ORDER BY conname
"""
_INDEXES: Final = """
SELECT c.relname, CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END || substring(pg_get_indexdef(c.oid) FROM ' (USING .*)$')
    || CASE WHEN i.indisvalid THEN '' ELSE ' INVALID' END
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = %s::regclass AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = c.oid AND k.conrelid = i.indrelid)
ORDER BY c.relname
"""
_NOT_ALLOWED: Final = (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)


@dataclass(frozen=True, slots=True)
class Column:
    """A column as the catalog describes it."""

    type: str
    not_null: bool
    default: str | None


@dataclass(frozen=True, slots=True)
class Layout:
    """A table as the catalog describes it: definitions by name."""

    columns: Mapping[str, Column]
    constraints: Mapping[str, str]
    indexes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """Something in which a table is not what its read model asks for.

    `statements` make it so, in this order; there are none where only a new table helps. `blocks` says that a projection must not
    write into the table as it is, `of_shape` that it is in columns or constraints, which the digest of a shape is made of.
    """

    text: str
    statements: tuple[sql.Composed, ...] = ()
    blocks: bool = False
    of_shape: bool = True

    def describe(self, connection: PgConnection) -> str:
        """The difference, with the statements that remove it."""
        if not self.statements:
            return self.text
        return f"{self.text}: {'; '.join(statement.as_string(connection) for statement in self.statements)}"


def read_layout(connection: PgConnection, table: sql.Identifier) -> Layout:
    """The layout of a table that exists."""
    name = [table.as_string(connection)]
    return Layout(
        {row[0]: Column(row[1], row[2], row[3]) for row in connection.execute(_COLUMNS, name)},
        {row[0]: row[1] for row in connection.execute(_CONSTRAINTS, name)},
        {row[0]: row[1] for row in connection.execute(_INDEXES, name)},
    )


def wanted_layout(connection: PgConnection, table: ModelTable) -> Layout | None:
    """The layout that the read model asks for; None where the user may not make the temporary table that it is read from."""
    try:
        with connection.transaction(force_rollback=True):
            table.create_temporary(connection)
            return read_layout(connection, sql.Identifier("pg_temp", table.name))
    except _NOT_ALLOWED:
        return None


def differences(connection: PgConnection, table: ModelTable) -> list[Difference] | None:
    """How a table that exists differs from its read model; None where they cannot be compared.

    What is only in the table comes before what is only in the class: a name is free before it is used again. Columns are dropped
    after the constraints and indexes that contain them, and names that the class gives are taken before Postgres chooses others.
    """
    wanted = wanted_layout(connection, table)
    if wanted is None:
        return None
    found = read_layout(connection, table.identifier)
    old_constraints, new_constraints = _unmatched(
        found.constraints, wanted.constraints, table.constraint_names | frozenset(wanted.indexes)
    )
    old_indexes, new_indexes = _unmatched(found.indexes, wanted.indexes, frozenset(wanted.indexes))
    return [
        *_of_columns(table, found, wanted),
        *(_surplus("constraint", name, text, table.drop_constraint(name)) for name, text in old_constraints.items()),
        *(_surplus("index", name, text, table.drop_index(name)) for name, text in old_indexes.items()),
        *(_surplus_column(table, name, column) for name, column in found.columns.items() if name not in wanted.columns),
        *(
            _missing("constraint", name, text, table.add_constraint(name, text))
            for name, text in sorted(new_constraints.items(), key=lambda one: one[0] not in table.constraint_names)
        ),
        *(_missing("index", name, text, table.create_index(name)) for name, text in new_indexes.items()),
    ]


def _surplus(what: str, name: str, definition: str, statement: sql.Composed) -> Difference:
    return Difference(
        f"the {what} {name!r} of the table, {definition}, is not in the class",
        (statement,),
        of_shape=what == "constraint",
    )


def _surplus_column(table: ModelTable, name: str, column: Column) -> Difference:
    return Difference(
        f"the column {name!r} of the table is not in the class",
        (table.drop_column(name),),
        blocks=column.not_null and column.default is None,
    )


def _missing(what: str, name: str, definition: str, statement: sql.Composed) -> Difference:
    return Difference(
        f"the {what} {name!r} of the class, {definition}, is not in the table",
        (statement,),
        of_shape=what == "constraint",
    )


def _of_columns(table: ModelTable, found: Layout, wanted: Layout) -> Iterator[Difference]:
    for name, should in wanted.columns.items():
        is_there = found.columns.get(name)
        if is_there is None:
            yield Difference(f"the column {name!r} of the class is not in the table", blocks=True)
        elif (is_there.type, is_there.not_null) != (should.type, should.not_null):
            yield Difference(
                f"the column {name!r} is {_described(is_there)} in the table and {_described(should)} in the class",
                blocks=True,
            )
        elif is_there.default != should.default and not (name in table.key_names and _is_unused(is_there, should)):
            yield Difference(
                f"the column {name!r} has the default {is_there.default} in the table and {should.default} in the class",
                (table.set_default(name, should.default),),
                of_shape=False,
            )


def _is_unused(found: Column, wanted: Column) -> bool:
    # Earlier releases made a single integer key SERIAL. Every row has its key given, so nothing takes a value from the sequence.
    return wanted.default is None and (found.default or "").startswith("nextval(")


def _described(column: Column) -> str:
    return f"{column.type} {'NOT NULL' if column.not_null else 'NULL'}"


def _unmatched(
    found: Mapping[str, str], wanted: Mapping[str, str], named: frozenset[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """What is only in the table, and only in the class. The name counts where the class gives one."""
    surplus = {name: definition for name, definition in found.items() if wanted.get(name) != definition}
    missing = {name: definition for name, definition in wanted.items() if found.get(name) != definition}
    for name, definition in list(missing.items()):
        if name not in named:
            same = next((other for other, text in surplus.items() if text == definition and other not in named), None)
            if same is not None:
                del surplus[same], missing[name]
    return surplus, missing
