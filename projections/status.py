"""How far each projection of an app is, asked of Postgres and of the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import psycopg

from eventsource.app import App
from eventsource.consuming.database import Database, PgConnection
from eventsource.consuming.locks import try_share_for_transaction
from eventsource.consuming.positions import Position
from eventsource.log.admin import LogAdmin
from eventsource.settings import Settings
from projections.definition import ProjectionDefinition
from projections.feed import find_topics
from projections.layout import Difference
from projections.plan import Plan
from projections.registry import Registered
from projections.store import ProjectionStore, Topic, outdated_by

_NOT_COMPARED: Final = (
    "table and class were not compared, which takes a temporary table: grant TEMPORARY on the database to this user"
)


class State(Enum):
    """What can be said of a read model from outside. Whether a worker runs is not known there."""

    NOT_BUILT = "not built"
    """No worker has begun it yet."""
    BEHIND = "behind"
    CAUGHT_UP = "caught up"
    REBUILDING = "rebuilding"
    OUTDATED = "outdated"
    """It was built by another revision or shape, or from other topics, or its table was changed: it must be rebuilt."""


@dataclass(frozen=True, slots=True)
class ProjectionStatus:
    """How far one projection is. `position`, `end` and `lag` are sums of offsets over the partitions that it reads now."""

    name: str
    revision: int
    table: str
    topics: tuple[str, ...]
    partitions: int
    position: int
    end: int
    state: State
    differences: tuple[str, ...] = ()
    """In what the table differs from the class, with the statements that remove a difference."""

    @property
    def lag(self) -> int:
        """Offsets that are not folded yet; the ends of transactions count among them."""
        return max(0, self.end - self.position)

    @property
    def changed(self) -> bool:
        """Whether a rebuild would make another table, or other rows in it."""
        return self.state is State.OUTDATED or any(found != _NOT_COMPARED for found in self.differences)


def projection_statuses(app: App, settings: Settings, *, only: str | None = None) -> list[ProjectionStatus]:
    """The status of every projection of the app, or of the one of that name.

    Raises `DatabaseUnavailable`, `BrokerUnavailable`, `TopicMissing`.
    """
    kafka = settings.kafka
    admin = LogAdmin(kafka.client_config(), request_timeout_seconds=kafka.request_timeout_seconds)
    database = Database(settings.postgres, application_name=f"{app.names(settings.namespace).prefix} status")
    try:
        chosen = [consumer for name, consumer in app.consumers.items() if only in (None, name)]
        definitions = [getattr(consumer, "__definition__", None) for consumer in chosen]
        return [
            _status(Plan(definition, app, settings.namespace), database, admin)
            for definition in definitions
            if isinstance(definition, ProjectionDefinition)
        ]
    finally:
        database.close()
        admin.close()


def _status(plan: Plan, database: Database, admin: LogAdmin) -> ProjectionStatus:
    topics = find_topics(plan, admin)
    ends = admin.end_offsets(plan.partitions, committed_only=True)
    end = sum(ends.values())
    store = ProjectionStore(plan, database)
    with database.transaction() as connection:
        registered, positions = _stored(store, connection)
        rebuilding = not try_share_for_transaction(connection, store.lock)
        exists = store.table.exists(connection)
        found: list[Difference] | None = []
        if registered is not None and exists and not rebuilding:
            found = store.differences(connection)
            registered = store.accepted(registered, found)
        described = (_NOT_COMPARED,) if found is None else tuple(one.describe(connection) for one in found)
    usable = exists and not any(one.blocks for one in found or ())
    position = sum_reached(positions, topics, ends)
    return ProjectionStatus(
        name=store.name,
        revision=store.revision,
        table=store.table.name,
        topics=tuple(topic.name for topic in topics),
        partitions=len(plan.partitions),
        position=position,
        end=end,
        state=_state(store, registered, positions, topics, rebuilding=rebuilding, usable=usable, behind=position < end),
        differences=described,
    )


def sum_reached(positions: Sequence[Position], topics: Sequence[Topic], ends: Mapping[tuple[str, int], int]) -> int:
    """The sum of what is folded of each partition up to its end, by topic and partition.

    Positions in topics that the projection reads no longer, or that were created again, say nothing; nor does one beyond the
    end of its own partition say anything of the others.
    """
    current = {topic.id: topic.name for topic in topics}
    return sum(
        min(position.offset, ends.get((current[position.topic_id], position.partition), 0))
        for position in positions
        if position.topic_id in current
    )


def _stored(store: ProjectionStore, connection: PgConnection) -> tuple[Registered | None, list[Position]]:
    try:
        with connection.transaction():
            return store.registry.find(connection, store.name), store.positions.read(
                connection, store.name, store.revision
            )
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        return None, []


def _state(
    store: ProjectionStore,
    registered: Registered | None,
    positions: Sequence[Position],
    topics: Sequence[Topic],
    *,
    rebuilding: bool,
    usable: bool,
    behind: bool,
) -> State:
    if rebuilding:
        return State.REBUILDING
    if registered is None:
        return State.NOT_BUILT
    ids = {topic.name: topic.id for topic in topics}
    other_topics = any(ids.get(position.topic, position.topic_id) != position.topic_id for position in positions)
    if other_topics or not usable or outdated_by(registered, store.plan.definition, store.table) is not None:
        return State.OUTDATED
    return State.BEHIND if behind else State.CAUGHT_UP
