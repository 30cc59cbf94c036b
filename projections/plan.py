"""A projection within an app: which topics it reads, which of their records concern it, and how its rows are guarded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from eventsource.domain import Aggregate
from eventsource.errors import DefinitionError
from projections.definition import ProjectionDefinition, check_defaults

if TYPE_CHECKING:
    from eventsource.app import App


class Plan:
    """What follows from a projection and the app that it is part of.

    Raises `DefinitionError` if the projection folds an event that no aggregate of the app records, if an aggregate's ids need
    not be of the type of the key that they fill, or if another consumer of the app builds the same table.
    """

    def __init__(self, definition: ProjectionDefinition[Any], app: App, namespace: str = "") -> None:
        self.definition = definition
        self.app = app
        self.names = app.names(namespace)
        aggregates = _sources(definition, app)
        self.aggregates: Mapping[str, type[Aggregate[Any]]] = {
            self.names.events(aggregate.__definition__.name): aggregate for aggregate in aggregates
        }
        """The aggregates whose events concern the projection, by the topics that hold them."""
        self.types: Mapping[str, frozenset[bytes]] = {
            topic: frozenset(
                name.encode() for name, event in aggregate.__definition__.events.items() if event in definition.handlers
            )
            for topic, aggregate in self.aggregates.items()
        }
        """By topic, the event names that concern the projection, aliases included: the rest is skipped undecoded."""
        # One id may exist in two aggregates: their topics then meet in one row, from two partitions.
        self.locked = definition.shared or len(aggregates) > 1
        """Whether several writers may meet in one row, so that rows are locked while they are folded."""
        if self.locked:
            check_defaults(definition, "its rows may be reached from several partitions")
        _check_ids(definition, aggregates)
        _check_table(definition, app)

    @property
    def partitions(self) -> list[tuple[str, int]]:
        """Every topic and partition that the projection reads."""
        return [
            (topic, partition)
            for topic, aggregate in self.aggregates.items()
            for partition in range(self.app.partitions_of(aggregate))
        ]

    @property
    def group(self) -> str:
        """The consumer group that shares out the partitions among workers."""
        return self.names.consumer("projection", self.definition.name)


def _sources(definition: ProjectionDefinition[Any], app: App) -> list[type[Aggregate[Any]]]:
    recorded = {name: frozenset(aggregate.__definition__.events.values()) for name, aggregate in app.aggregates.items()}
    for event, handler in definition.handlers.items():
        if not any(event in events for events in recorded.values()):
            raise DefinitionError(
                f"{handler.where} folds {event.__qualname__}, which no aggregate of app {app.name!r} records: add the aggregate that "
                "does to the app, or take the handler away"
            )
    return [aggregate for name, aggregate in app.aggregates.items() if recorded[name] & definition.events]


def _check_ids(definition: ProjectionDefinition[Any], aggregates: list[type[Aggregate[Any]]]) -> None:
    """An id of another form than the key's would stop the projection at the event that bears it."""
    for event, handler in definition.handlers.items():
        wanted = handler.id_type
        if wanted is None or wanted is str:
            continue
        column = definition.twin.key_columns[0].attribute
        for aggregate in aggregates:
            ids = aggregate.__definition__.ids
            if event in aggregate.__definition__.events.values() and (ids is None or ids.type is not wanted):
                raise DefinitionError(
                    f"{handler.where}: the ids of {aggregate.__name__} fill {definition.twin.name}.{column}, which is {wanted.__name__}, "
                    f"and they may be other texts: declare class {aggregate.__name__}(…, ids={wanted.__name__}), make the column "
                    "Mapped[str], or name the key with key="
                )


def _check_table(definition: ProjectionDefinition[Any], app: App) -> None:
    for consumer in app.consumers.values():
        other = getattr(consumer, "__definition__", None)
        if not isinstance(other, ProjectionDefinition) or other is definition:
            continue
        if other.model.__tablename__ == definition.model.__tablename__:
            raise DefinitionError(
                f"{definition.where} and {other.where} both write the table {definition.model.__tablename__!r}: give each a read model "
                "with a table of its own"
            )
