"""A session that reads and says so."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from eventsource.errors import ReadModelReadOnly


class ReadSession(Session):
    """Raises `ReadModelReadOnly` where something is to be written, at once or at the latest when it ends.

    Postgres refuses what goes past it, such as SQL text: its transactions are read-only.
    """

    def __init__(self, connection: Connection, projection: str) -> None:
        super().__init__(connection)
        self._projection = projection

    def add(self, instance: object, *_: Any, **__: Any) -> None:
        raise self._refusal(f"add() was given a row of {type(instance).__name__}")

    def add_all(self, instances: Iterable[object]) -> None:
        raise self._refusal(f"add_all() was given {len(list(instances))} rows")

    def delete(self, instance: object) -> None:
        raise self._refusal(f"delete() was given a row of {type(instance).__name__}")

    def merge(self, instance: Any, *_: Any, **__: Any) -> Any:
        raise self._refusal(f"merge() was given a row of {type(instance).__name__}")

    def flush(self, objects: Any = None) -> None:
        """Called before every query and every commit too."""
        self.check_unchanged()
        super().flush(objects)

    def check_unchanged(self) -> None:
        """Raises `ReadModelReadOnly` where rows were changed, or added through a relationship."""
        changed = [row for row in self.dirty if self.is_modified(row)]
        for row in (*changed, *self.new, *self.deleted):
            raise self._refusal(
                f"a row of {type(row).__name__} was changed: copy its values, or `session.expunge` it first"
            )

    def _refusal(self, attempt: str) -> ReadModelReadOnly:
        return ReadModelReadOnly(self._projection, attempt)
