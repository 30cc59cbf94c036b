"""Folding: events and the rows they find become the rows that they leave. No I/O: databases and tests fold alike."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from eventsource.log.recorded import Recorded
from projections.definition import BoundHandler, ProjectionDefinition
from projections.failure import failed
from projections.rows import Deleted, Rows
from projections.twin import Key

Load = Callable[[Collection[Key]], Mapping[Key, Any]]
"""Finds rows by key: those that exist."""


# A handler that exits, or meets a cancelled task, failed like any other. Ctrl-C is no handler's failure.
_FAILURES: Final = (Exception, SystemExit, CancelledError)

Step = tuple[Recorded, BoundHandler, Any]
"""An event, its handler, and the key or keys that it named."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What a batch makes of a table: whole rows by key, to be inserted or to replace, and keys to be deleted."""

    upserts: dict[Key, tuple[Any, ...]]
    """The values of each row, in the order of the twin's columns."""
    deletes: list[Key]


def fold(definition: ProjectionDefinition[Any], events: Sequence[Recorded], load: Load) -> Changes:
    """Folds events, in their order, into the rows that `load` finds.

    `load` is called once, with all keys that the events name. Raises `ProjectionFailed`, naming projection, method, event
    and position, when a handler or a key function fails; nothing is to be written then.
    """
    handlers = definition.handlers
    twin = definition.twin
    steps: list[Step] = []
    wanted: set[Key] = set()
    for recorded in events:
        handler = handlers[recorded.event.__class__]
        try:
            if handler.single_key is not None:
                key: Any = handler.single_key(recorded)
                wanted.add(key)
            else:
                key = handler.several_keys(recorded)  # type: ignore[misc]  # one of the two is there
                wanted.update(key.values())
        except _FAILURES as error:
            raise failed(definition, recorded, error) from error
        steps.append((recorded, handler, key))

    found = load(wanted)
    rows = dict(found)
    new = twin.new
    for recorded, handler, key in steps:
        try:
            if handler.single_key is not None:
                row = rows.get(key)
                if row is None:
                    row = rows[key] = new(key)
                result = (
                    handler.call(recorded.event, row, recorded)
                    if handler.takes_recorded
                    else handler.call(recorded.event, row)
                )
                if result is not None:
                    _check_deleted(result)
                    del rows[key]
            else:
                several: Rows[Any] = Rows(key, rows, new)
                result = (
                    handler.call(recorded.event, several, recorded)
                    if handler.takes_recorded
                    else handler.call(recorded.event, several)
                )
                if result is not None:
                    _refuse(result, "rows.delete(key) deletes")
        except _FAILURES as error:
            raise failed(definition, recorded, error) from error
    return Changes(_values(definition, steps, rows), [key for key in found if key not in rows])


def _check_deleted(result: Any) -> None:
    if not isinstance(result, Deleted):
        _refuse(result, "return Deleted() deletes it")


def _refuse(result: Any, mend: str) -> NoReturn:
    raise TypeError(f"it returned {result!r}: change the row in place and return nothing; {mend}")


def _values(
    definition: ProjectionDefinition[Any], steps: Sequence[Step], rows: Mapping[Key, Any]
) -> dict[Key, tuple[Any, ...]]:
    """The values of every row that is left, which must be whole and have the key under which it was found."""
    twin = definition.twin
    found: dict[Key, tuple[Any, ...]] = {}
    for key, row in rows.items():
        try:
            found[key] = twin.values(row)
        except AttributeError:
            missing = next(column.attribute for column in twin.columns if not hasattr(row, column.attribute))
            error: Exception = ValueError(
                f"the row {key!r} was made without {twin.name}.{missing}: set it, or give the column a default"
            )
        else:
            if twin.key(row) == key:
                continue
            error = ValueError(f"the key of the row {key!r} was changed to {twin.key(row)!r}: a row keeps its key")
        raise failed(definition, _last_event(steps, key), error)
    return found


def _last_event(steps: Sequence[Step], key: Key) -> Recorded:
    for recorded, _, keys in reversed(steps):
        if keys == key or (isinstance(keys, dict) and key in keys.values()):
            return recorded
    return steps[-1][0]
