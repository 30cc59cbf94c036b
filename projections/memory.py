"""A projection in memory, for `TestApp`: the same fold, over a dict."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from copy import deepcopy
from typing import Any, Generic, TypeVar

from eventsource.log.recorded import Recorded
from projections.fold import fold
from projections.plan import Plan
from projections.read_model import ReadModel
from projections.twin import Key

M = TypeVar("M", bound=ReadModel)


class MemoryProjection(Generic[M]):
    """The rows of a read model, folded from the events that it is given."""

    def __init__(self, plan: Plan) -> None:
        self._definition = plan.definition
        self._rows: dict[Key, tuple[Any, ...]] = {}

    def handle(self, events: Sequence[Recorded]) -> None:
        """Folds events, in the order of the log. Raises `ProjectionFailed`, having changed nothing, when a handler fails."""
        concerning = [recorded for recorded in events if recorded.event.__class__ in self._definition.handlers]
        if not concerning:
            return
        changes = fold(self._definition, concerning, self._load)
        self._rows.update(changes.upserts)
        for key in changes.deletes:
            del self._rows[key]

    def rows(self) -> list[M]:
        """The rows as objects of the read model, in the order in which they came to be."""
        twin = self._definition.twin
        return [twin.to_model(twin.load(deepcopy(values))) for values in self._rows.values()]

    def _load(self, keys: Collection[Key]) -> dict[Key, Any]:
        # copies, as from a database: a handler that fails must not have changed a dict or list in a row
        twin = self._definition.twin
        return {key: twin.load(deepcopy(self._rows[key])) for key in keys if key in self._rows}
