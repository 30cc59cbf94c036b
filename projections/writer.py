"""Rows of a read model in and out of Postgres, many in one statement."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from psycopg import sql
from sqlalchemy import ARRAY

from eventsource.consuming.database import PgConnection
from projections.binding import Binding
from projections.table import ModelTable, type_text
from projections.twin import Key, Twin, TwinColumn


class RowWriter:
    """Loads, locks, upserts and deletes rows of one table by key. Every method takes part in its connection's transaction."""

    def __init__(self, twin: Twin[Any], table: ModelTable) -> None:
        self._twin = twin
        columns = twin.columns
        self._binding = Binding(columns)
        self._key_binding = Binding(twin.key_columns)
        # unnest() flattens arrays of arrays: such rows go one by one
        self._unnests = not any(isinstance(column.column.type, ARRAY) for column in columns)
        names = _Names(twin, table)
        self._load = names.load(for_update=False)
        self._lock = names.load(for_update=True)
        self._insert_missing = names.insert_missing() if self._unnests else names.insert_missing_one()
        self._upsert = names.upsert() if self._unnests else names.upsert_one()
        self._delete = names.delete()
        self._deferred = table.has_deferred_constraints

    def load(self, connection: PgConnection, keys: Collection[Key]) -> dict[Key, Any]:
        """The rows of these keys that exist."""
        return self._fetch(connection, self._load, keys)

    def lock(self, connection: PgConnection, keys: Collection[Key]) -> tuple[dict[Key, Any], set[Key]]:
        """All rows of these keys, locked in the order of their keys; also those that were missing and are now there, as defaults.

        Inserting the missing ones first is what makes a second writer of the same key wait instead of beginning its own row.
        """
        blank = [self._twin.values(self._twin.new(key)) for key in keys]
        inserted: set[Key] = set()
        if blank and self._unnests:
            for raw in connection.execute(self._insert_missing, self._binding.to_columns(blank)):
                inserted.add(self._key_binding.from_row(raw))
        elif blank:
            with connection.cursor() as cursor:
                for values in sorted(zip(*self._binding.to_columns(blank), strict=True), key=repr):
                    for raw in cursor.execute(self._insert_missing, values):
                        inserted.add(self._key_binding.from_row(raw))
        return self._fetch(connection, self._lock, keys), inserted

    def upsert(self, connection: PgConnection, rows: Iterable[tuple[Any, ...]]) -> None:
        """Inserts rows, or replaces those of the same key. Each is its values in the order of the twin's columns."""
        values = list(rows)
        if not values:
            return
        columns = self._binding.to_columns(values)
        if self._unnests:
            connection.execute(self._upsert, columns)
        else:
            with connection.cursor() as cursor:
                cursor.executemany(self._upsert, list(zip(*columns, strict=True)))

    def delete(self, connection: PgConnection, keys: Collection[Key]) -> None:
        """Deletes the rows of these keys."""
        if keys:
            connection.execute(self._delete, self._key_binding.to_columns(keys))

    def check_deferred(self, connection: PgConnection) -> None:
        """Has deferred constraints checked now instead of at COMMIT, where no event could be named for them."""
        if self._deferred:
            connection.execute("SET CONSTRAINTS ALL IMMEDIATE")

    def try_value(self, connection: PgConnection, column: TwinColumn, value: Any) -> None:
        """Sends one value to the server as a column's, and stores nothing. Raises what a statement with it raises."""
        statement = sql.SQL("SELECT {}").format(_arrays([column]))
        connection.execute(statement, Binding([column]).to_columns([(value,)]))

    def _fetch(self, connection: PgConnection, statement: sql.Composed, keys: Collection[Key]) -> dict[Key, Any]:
        if not keys:
            return {}
        load, key_of, from_row = self._twin.load, self._twin.key, self._binding.from_row
        found: dict[Key, Any] = {}
        for raw in connection.execute(statement, self._key_binding.to_columns(keys)):
            row = load(from_row(raw))
            found[key_of(row)] = row
        return found


class _Names:
    """The statements, made of the table's and the columns' quoted names."""

    def __init__(self, twin: Twin[Any], table: ModelTable) -> None:
        self._table = table.identifier
        self._columns = twin.columns
        self._keys = twin.key_columns

    def load(self, *, for_update: bool) -> sql.Composed:
        # load_rows: the rows of some keys
        statement = sql.SQL("SELECT {columns} FROM {table} AS r JOIN unnest({arrays}) AS k({names}) ON {same}").format(
            columns=_comma(sql.SQL("r.") + _name(column) for column in self._columns),
            table=self._table,
            arrays=_arrays(self._keys),
            names=_comma(map(_name, self._keys)),
            same=sql.SQL(" AND ").join(sql.SQL("r.{0} = k.{0}").format(_name(column)) for column in self._keys),
        )
        if not for_update:
            return statement
        # lock_rows: in the order of keys, so that two writers never wait for each other in a circle
        return statement + sql.SQL(" ORDER BY {} FOR UPDATE OF r").format(
            _comma(sql.SQL("r.") + _name(column) for column in self._keys)
        )

    def upsert(self) -> sql.Composed:
        # upsert_rows: whole rows, inserted or replaced
        return self._insert() + self._on_conflict()

    def upsert_one(self) -> sql.Composed:
        return self._insert_one() + self._on_conflict()

    def insert_missing(self) -> sql.Composed:
        # insert_missing_rows: in the order of keys, and only those that are not there
        return self._insert() + sql.SQL(" ORDER BY {keys} ON CONFLICT ({keys}) DO NOTHING RETURNING {keys}").format(
            keys=_comma(map(_name, self._keys))
        )

    def insert_missing_one(self) -> sql.Composed:
        return self._insert_one() + sql.SQL(" ON CONFLICT ({keys}) DO NOTHING RETURNING {keys}").format(
            keys=_comma(map(_name, self._keys))
        )

    def delete(self) -> sql.Composed:
        # delete_rows: the rows of some keys
        return sql.SQL("DELETE FROM {table} AS r USING unnest({arrays}) AS k({names}) WHERE {same}").format(
            table=self._table,
            arrays=_arrays(self._keys),
            names=_comma(map(_name, self._keys)),
            same=sql.SQL(" AND ").join(sql.SQL("r.{0} = k.{0}").format(_name(column)) for column in self._keys),
        )

    def _insert(self) -> sql.Composed:
        names = _comma(map(_name, self._columns))
        return sql.SQL("INSERT INTO {table} ({names}) SELECT {names} FROM unnest({arrays}) AS v({names})").format(
            table=self._table, names=names, arrays=_arrays(self._columns)
        )

    def _insert_one(self) -> sql.Composed:
        values = _comma(sql.SQL("%s::") + sql.SQL(type_text(column.column.type)) for column in self._columns)
        return sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(self._table, _comma(map(_name, self._columns)), values)

    def _on_conflict(self) -> sql.Composed:
        others = [column for column in self._columns if not column.key]
        keys = _comma(map(_name, self._keys))
        if not others:
            return sql.SQL(" ON CONFLICT ({}) DO NOTHING").format(keys)
        changes = _comma(sql.SQL("{0} = excluded.{0}").format(_name(column)) for column in others)
        return sql.SQL(" ON CONFLICT ({}) DO UPDATE SET {}").format(keys, changes)


def _name(column: TwinColumn) -> sql.Identifier:
    return sql.Identifier(column.name)


def _comma(parts: Iterable[sql.Composable]) -> sql.Composed:
    return sql.SQL(", ").join(parts)


def _arrays(columns: Sequence[TwinColumn]) -> sql.Composed:
    # the types' texts are SQLAlchemy's, made of the model's columns
    return _comma(sql.SQL("%s::") + sql.SQL(type_text(column.column.type) + "[]") for column in columns)
