"""Which row, and so which event, the database would not take: found by writing the rows of a failed batch one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from eventsource.consuming.database import PgConnection
from eventsource.errors import ProjectionFailed
from eventsource.log.recorded import Recorded
from projections.definition import ProjectionDefinition
from projections.failure import failed
from projections.fold import Changes
from projections.twin import Key
from projections.writer import RowWriter


def blame(
    definition: ProjectionDefinition[Any],
    writer: RowWriter,
    connection: PgConnection,
    changes: Changes,
    events: Sequence[Recorded],
    error: Exception,
) -> ProjectionFailed:
    """The error that names the last event that changed the row which cannot be stored.

    Runs in the batch's transaction, which is to be rolled back.
    """
    for key, row in changes.upserts.items():
        try:
            with connection.transaction(force_rollback=True):
                writer.upsert(connection, [row])
        except (psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError, TypeError, ValueError) as found:
            recorded = _last_event(definition, events, key)
            detail = ValueError(
                f"the row {key!r} of {definition.model.__tablename__!r} cannot be stored: {' '.join(str(found).split())}"
            )
            return failed(definition, recorded, detail)
    # Each row goes alone, so they contradict each other: a unique constraint besides the key, for instance.
    detail = ValueError(
        f"the rows of the batch that ends there cannot be stored together: {' '.join(str(error).split())}"
    )
    return failed(definition, events[-1], detail)


def _last_event(definition: ProjectionDefinition[Any], events: Sequence[Recorded], key: Key) -> Recorded:
    for recorded in reversed(events):
        handler = definition.handlers[recorded.event.__class__]
        if handler.single_key is not None:
            if handler.single_key(recorded) == key:
                return recorded
        elif handler.several_keys is not None and key in handler.several_keys(recorded).values():
            return recorded
    return events[-1]
