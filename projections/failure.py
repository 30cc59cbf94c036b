"""The error that a projection stops with, made in one way wherever it is found."""

from __future__ import annotations

from typing import Any

from eventsource.errors import ProjectionFailed
from eventsource.log.recorded import Recorded
from projections.definition import ProjectionDefinition
from projections.twin import Key


def failed(
    definition: ProjectionDefinition[Any],
    recorded: Recorded,
    error: BaseException,
    *,
    row: Key | None = None,
    column: str | None = None,
) -> ProjectionFailed:
    """Names projection, method, event and position, and where they are known row and column; the caller raises it from what happened."""
    return ProjectionFailed(
        projection=definition.name,
        handler=definition.handlers[recorded.event.__class__].where,
        event=recorded.event.message_name,
        aggregate_id=recorded.id,
        version=recorded.version,
        position=f"partition {recorded.partition}, offset {recorded.offset}",
        error=error,
        row=row,
        column=column,
    )
