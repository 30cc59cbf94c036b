"""Which row, and so which event, the database would not take: found by trying the rows of a failed batch one by one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

import psycopg

from eventsource.consuming.database import PgConnection, is_about_values
from eventsource.errors import ProjectionFailed
from eventsource.log.recorded import Recorded
from projections.definition import BoundHandler, ProjectionDefinition
from projections.failure import failed
from projections.fold import Changes
from projections.twin import Key, TwinColumn
from projections.writer import RowWriter

Find = Callable[[PgConnection, Collection[Key]], Any]
"""A statement of the writer that finds rows by key: `load` or `lock`."""


class KeysRefused(Exception):
    """Raised when a statement that finds rows fails because of the keys; carries what `blame_keys` needs. Never leaves the store."""

    def __init__(self, keys: Collection[Key], error: Exception) -> None:
        super().__init__(str(error))
        self.keys = keys
        self.error = error


def blame(
    definition: ProjectionDefinition[Any],
    writer: RowWriter,
    connection: PgConnection,
    changes: Changes,
    events: Sequence[Recorded],
    error: Exception,
) -> ProjectionFailed:
    """The error that names the last event that changed the row which cannot be stored or deleted.

    Runs in the batch's transaction, which is to be rolled back. Each row is tried alone, then beside the rows before it: two
    rows of one batch may contradict each other, by a unique constraint besides the key for instance.
    """
    table = definition.model.__tablename__
    columns = definition.twin.columns
    steps: list[tuple[Key, str, Callable[[], None]]] = [
        *((key, "stored", partial(writer.upsert, connection, [row])) for key, row in changes.upserts.items()),
        *((key, "deleted", partial(writer.delete, connection, [key])) for key in changes.deletes),
    ]
    for key, done, step in steps:
        found = _refusal(writer, connection, step, keep=False)
        if found is not None:
            row = changes.upserts.get(key)
            column = None if row is None else _column(writer, connection, columns, row, found)
            detail = f"the row {key!r} of {table!r} cannot be {done}"
            return _named(definition, _last_event(definition, events, key), detail, found, key, column)
    for key, done, step in steps:
        found = _refusal(writer, connection, step, keep=True)
        if found is not None:
            detail = f"the row {key!r} of {table!r} cannot be {done} together with other rows of its batch"
            return _named(definition, _last_event(definition, events, key), detail, found, key)
    return _named(definition, events[-1], "the rows of the batch that ends there cannot be stored together", error)


def blame_keys(
    definition: ProjectionDefinition[Any],
    writer: RowWriter,
    connection: PgConnection,
    find: Find,
    events: Sequence[Recorded],
    refused: KeysRefused,
) -> ProjectionFailed:
    """The error that names the first event whose row cannot even be looked for. Runs in a transaction of its own."""
    table = definition.model.__tablename__
    for key in refused.keys:
        found = _refusal(writer, connection, partial(find, connection, [key]), keep=False)
        if found is not None:
            column = _column(writer, connection, definition.twin.key_columns, key, found)
            detail = f"the row {key!r} of {table!r} cannot be read"
            return _named(definition, _first_event(definition, events, key), detail, found, key, column)
    return _named(
        definition, events[-1], f"rows of {table!r} cannot be read for the batch that ends there", refused.error
    )


def _refusal(
    writer: RowWriter, connection: PgConnection, step: Callable[[], object], *, keep: bool
) -> Exception | None:
    """What a step raised about its values, None if it passed; unless `keep`, its effect is undone."""
    try:
        with connection.transaction(force_rollback=not keep):
            step()
            writer.check_deferred(connection)
    except Exception as error:
        if not is_about_values(error):
            raise
        return error
    return None


def _column(
    writer: RowWriter, connection: PgConnection, columns: Sequence[TwinColumn], values: Sequence[Any], error: Exception
) -> str | None:
    """The column whose value the database does not take; None where that is not the fault of one column alone."""
    if isinstance(error, psycopg.Error) and error.diag.column_name is not None:
        return error.diag.column_name
    for column, value in zip(columns, values, strict=True):
        if _refusal(writer, connection, partial(writer.try_value, connection, column, value), keep=False) is not None:
            return column.name
    return None


def _named(
    definition: ProjectionDefinition[Any],
    recorded: Recorded,
    detail: str,
    error: Exception,
    row: Key | None = None,
    column: str | None = None,
) -> ProjectionFailed:
    where = "" if column is None else f", because of column {column!r}"
    reason = ValueError(f"{detail}{where}: {' '.join(str(error).split())}")
    return failed(definition, recorded, reason, row=row, column=column)


def _first_event(definition: ProjectionDefinition[Any], events: Sequence[Recorded], key: Key) -> Recorded:
    return next(
        (recorded for recorded in events if _names(definition.handlers[recorded.event.__class__], recorded, key)),
        events[-1],
    )


def _last_event(definition: ProjectionDefinition[Any], events: Sequence[Recorded], key: Key) -> Recorded:
    return _first_event(definition, events[::-1], key)


def _names(handler: BoundHandler, recorded: Recorded, key: Key) -> bool:
    if handler.single_key is not None:
        return handler.single_key(recorded) == key
    return handler.several_keys is not None and key in handler.several_keys(recorded).values()
