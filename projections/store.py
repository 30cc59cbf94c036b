"""A projection's place in Postgres: its table, its positions, and who may write them now."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import sql

from eventsource.consuming.catalog import schema_exists
from eventsource.consuming.database import Database, PgConnection, is_about_values
from eventsource.consuming.locks import lock_for_transaction, lock_key, try_share_for_transaction
from eventsource.consuming.positions import Move, Position, Positions
from eventsource.errors import PositionConflict, ReadModelOutdated, ReadModelRebuilding, SettingsError
from eventsource.log.recorded import Recorded
from projections.culprit import KeysRefused, blame, blame_keys
from projections.definition import ProjectionDefinition
from projections.fold import Changes, fold
from projections.layout import Difference, differences
from projections.plan import Plan
from projections.read_model import MAX_IDENTIFIER_BYTES
from projections.registry import Registered, Registry
from projections.table import ModelTable
from projections.twin import Key
from projections.writer import RowWriter

TopicAndPartition = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as the broker knows it now."""

    name: str
    id: bytes
    partitions: int


class ProjectionStore:
    """One projection's table and positions in one database. Belongs to one thread, like its connection."""

    def __init__(self, plan: Plan, database: Database) -> None:
        self.plan = plan
        self.database = database
        self.schema = checked_schema(plan.names.database_schema)
        self.name = plan.definition.name
        self.revision = plan.definition.revision
        self.table = ModelTable(plan.definition.model, self.schema)
        self.positions = Positions(self.schema)
        self.registry = Registry(self.schema)
        self.lock = lock_key(self.schema, "projection", self.name)
        """Shared by every batch's transaction, held alone by a rebuild."""
        self._writer = RowWriter(plan.definition.twin, self.table)

    # --- beginning -----------------------------------------------------------------------------------------------

    def prepare(self, topics: Sequence[Topic]) -> list[str]:
        """Makes schema, tables, indexes and positions that are missing. Raises `ReadModelOutdated` if what is there is something else.

        Returns the differences between table and class that keep nothing from working, with the statements that remove them.
        Two workers that begin at once take turns.
        """
        with self.database.transaction() as connection:
            self.make_schema(connection)
            registered = self.registry.find(connection, self.name)
            if registered is None:
                if self.table.exists(connection):
                    raise self._outdated(
                        "a table of that name is there, which no projection is recorded to have made: drop or rename it"
                    )
                self.begin(connection, topics)
                return []
            if registered.revision == self.revision and registered.table == self.table.name:
                self._check_exists(connection)
                found = self.differences(connection)
                accepted = self.accepted(registered, found)
                if not accepted.has_shape(self.table.shape) or any(one.blocks for one in found or ()):
                    raise self._outdated(other_than(found))
                if accepted != registered:
                    self.registry.record(connection, accepted)
                registered = accepted
            self.check(registered)
            self._check_positions(connection, registered, topics)
            return self._make_indexes(connection)

    def differences(self, connection: PgConnection) -> list[Difference] | None:
        """How the table differs from the class; None where the user may not make the temporary table that this takes."""
        return differences(connection, self.table)

    def accepted(self, registered: Registered, found: Sequence[Difference] | None) -> Registered:
        """What is recorded, and the shape of this class too where the comparison shows that the table has it."""
        is_this = registered.revision == self.revision and registered.table == self.table.name
        if not is_this or registered.has_shape(self.table.shape) or found is None or any(one.of_shape for one in found):
            return registered
        return replace(registered, shape=f"{registered.shape} {self.table.shape}")

    def _make_indexes(self, connection: PgConnection) -> list[str]:
        try:
            with connection.transaction():
                self.table.create_indexes(connection)
        except psycopg.IntegrityError as error:
            raise self._outdated(
                f"an index of the class does not fit the rows: {' '.join(str(error).split())}"
            ) from error
        return [one.describe(connection) for one in self.differences(connection) or ()]

    def make_schema(self, connection: PgConnection) -> None:
        """Makes the Postgres schema and the framework's own tables, one worker at a time."""
        lock_for_transaction(connection, lock_key(self.schema, "schema"))
        if not schema_exists(connection, self.schema):
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(self.schema)))
        self.positions.create(connection)
        self.registry.create(connection)

    def begin(self, connection: PgConnection, topics: Sequence[Topic]) -> None:
        """Makes the table, empty, and sets all positions to the start. Neither may be there."""
        self.table.create(connection)
        self.table.create_indexes(connection)
        self.begin_positions(connection, topics)

    def drop_table(self, connection: PgConnection, name: str) -> None:
        """Drops a table that this projection made. Fails where a view needs it, which is not the framework's to drop."""
        connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(self.schema, name)))

    def begin_positions(self, connection: PgConnection, topics: Sequence[Topic]) -> None:
        """Sets all positions to the start, and records what the table is built of."""
        self.positions.forget(connection, self.name)
        for topic in topics:
            self.positions.begin(connection, self.name, self.revision, topic.name, topic.id, topic.partitions)
        self.registry.record(
            connection,
            Registered(
                self.name,
                self.revision,
                self.table.name,
                self.table.shape,
                tuple(sorted(topic.name for topic in topics)),
            ),
        )

    def check(self, registered: Registered | None) -> None:
        """Raises `ReadModelOutdated` unless the table is what this projection would make."""
        reason = outdated_by(registered, self.plan.definition, self.table)
        if reason is not None:
            raise self._outdated(reason)

    def empty(self, connection: PgConnection, topics: Sequence[Topic]) -> list[str]:
        """Leaves the table empty and as the class asks for it, and all positions at the start.

        Returns what was changed. A table that lacks a column, or has it of another type, is dropped and made again; otherwise it
        keeps what others have on it, such as grants and views, and is changed in place.
        """
        registered = self.registry.find(connection, self.name)
        is_same = registered is not None and registered.table == self.table.name and self.table.exists(connection)
        found = self.differences(connection) if is_same else None
        fits = is_same and registered is not None and registered.has_shape(self.table.shape)
        if found is not None:
            fits = all(one.statements for one in found)
        if not fits:
            if registered is not None:
                self.drop_table(connection, registered.table)
            self.begin(connection, topics)
            return [one.text for one in found or ()]
        self.table.truncate(connection)
        for one in found or ():
            for statement in one.statements:
                connection.execute(statement)
        self.table.create_indexes(connection)
        self.begin_positions(connection, topics)
        return [one.text for one in found or ()]

    def _check_exists(self, connection: PgConnection) -> None:
        if not self.table.exists(connection):
            raise self._outdated(f"its table {self.table.name!r} is gone")

    def _check_positions(self, connection: PgConnection, registered: Registered, topics: Sequence[Topic]) -> None:
        self._check_exists(connection)
        found = self.positions.read(connection, self.name, self.revision)
        added = [topic for topic in topics if topic.name not in registered.topics]
        for topic in topics:
            if topic not in added:
                self._check_topic(topic, [position for position in found if position.topic == topic.name])
        if added:  # no row was ever folded from these: they begin at their start
            for topic in added:
                self.positions.begin(connection, self.name, self.revision, topic.name, topic.id, topic.partitions)
            names = tuple(sorted({*registered.topics, *(topic.name for topic in topics)}))
            self.registry.record(connection, replace(registered, topics=names))

    def _check_topic(self, topic: Topic, found: Sequence[Position]) -> None:
        if any(position.topic_id != topic.id for position in found):
            raise self._outdated(
                f"it was built from another topic of the name {topic.name}: that one was deleted and made anew"
            )
        missing = set(range(topic.partitions)) - {position.partition for position in found}
        if missing:
            raise self._outdated(
                f"its position in {topic.name}, partition {min(missing)}, is gone, so nobody knows which events are in its rows"
            )

    def _outdated(self, reason: str) -> ReadModelOutdated:
        return ReadModelOutdated(
            f"the read model of projection {self.name!r} in schema {self.schema!r} cannot be carried on: {reason}; rebuild it with "
            f"`eventsource projections rebuild {self.name}`"
        )

    # --- working -------------------------------------------------------------------------------------------------

    def read_positions(self, topics: Sequence[Topic]) -> dict[TopicAndPartition, int]:
        """The position in every partition of the topics. Raises `ReadModelOutdated`, and `ReadModelRebuilding` meanwhile."""
        with self.database.transaction() as connection:
            self._enter(connection)
            found = self.positions.read(connection, self.name, self.revision)
        for topic in topics:
            self._check_topic(topic, [position for position in found if position.topic == topic.name])
        return {(position.topic, position.partition): position.offset for position in found}

    def apply(self, events: Sequence[Recorded], moves: Sequence[Move]) -> None:
        """Folds events into the rows and moves the positions, all or nothing.

        Raises `PositionConflict` when somebody else moved them, `ReadModelRebuilding`, `ReadModelOutdated`,
        `DatabaseUnavailable` (it may have happened nevertheless: read the positions again), `ProjectionFailed`.
        """
        try:
            with self.database.transaction() as connection:
                self._enter(connection)
                # First of all: from here on no other writer of these partitions gets past its own move, so no row changes.
                self.positions.advance(connection, self.name, self.revision, moves)
                if events:
                    self._fold(connection, events)
        except KeysRefused as refused:
            # After the rollback: a savepoint around the loading of rows would cost every batch two round trips.
            find = self._writer.lock if self.plan.locked else self._writer.load
            with self.database.transaction() as connection:
                raise blame_keys(
                    self.plan.definition, self._writer, connection, find, events, refused
                ) from refused.error

    def _fold(self, connection: PgConnection, events: Sequence[Recorded]) -> None:
        placeholders: set[Key] = set()

        def load(keys: Collection[Key]) -> Mapping[Key, Any]:
            try:
                if not self.plan.locked:
                    return self._writer.load(connection, keys)
                found, inserted = self._writer.lock(connection, keys)
            except Exception as error:
                if not is_about_values(error):
                    raise
                raise KeysRefused(keys, error) from error
            if len(found) != len(keys):  # deleted between the two statements
                raise PositionConflict(
                    f"rows of {self.table.name!r} were deleted while they were being locked; the batch is tried again"
                )
            placeholders.update(inserted)
            return {key: row for key, row in found.items() if key not in inserted}

        changes = fold(self.plan.definition, events, load)
        unused = [key for key in placeholders if key not in changes.upserts]
        self._write(connection, Changes(changes.upserts, [*changes.deletes, *unused]), events)

    def _enter(self, connection: PgConnection) -> None:
        if not try_share_for_transaction(connection, self.lock):
            raise ReadModelRebuilding(
                f"the read model of projection {self.name!r} is being rebuilt; this is tried again until that is done"
            )
        self.check(self.registry.find(connection, self.name))

    def _write(self, connection: PgConnection, changes: Changes, events: Sequence[Recorded]) -> None:
        try:
            with connection.transaction():
                self._writer.upsert(connection, changes.upserts.values())
                self._writer.delete(connection, changes.deletes)
                self._writer.check_deferred(connection)
        except Exception as error:
            if not is_about_values(error):
                raise
            raise blame(self.plan.definition, self._writer, connection, changes, events, error) from error


def outdated_by(registered: Registered | None, definition: ProjectionDefinition[Any], table: ModelTable) -> str | None:
    """Why a table is not what a projection would make of it; None if it is."""
    if registered is None:
        return "the database knows nothing of it"
    if registered.revision != definition.revision:
        return f"it was built by revision {registered.revision}, and this is revision {definition.revision}"
    if registered.table != table.name:
        return f"it was built into the table {registered.table!r}, and this one is {table.name!r}"
    if not registered.has_shape(table.shape):
        return other_than(None)
    return None


def other_than(found: Sequence[Difference] | None) -> str:
    """Says that a table is not that of the class any more, with the differences where they are known."""
    details = "; ".join(one.text for one in found or ())
    return "its columns, types, keys or constraints are not those of the read model any more" + (
        f": {details}" if details else ""
    )


def checked_schema(name: str) -> str:
    """The name of a Postgres schema. Raises `SettingsError` if Postgres would cut it, so that two apps might share one."""
    if len(name.encode()) > MAX_IDENTIFIER_BYTES:
        raise SettingsError(
            f"the Postgres schema {name!r} has a name longer than {MAX_IDENTIFIER_BYTES} bytes: shorten EVENTSOURCE_NAMESPACE or "
            "the app's name"
        )
    return name
