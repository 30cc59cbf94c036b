"""Positions: how far each consumer has come in each partition, kept beside the rows that it writes.

A position is the offset of the next record: one past the last one whose effects are in the database. Rows and position
change in one transaction, and the position only from the value that the batch began at: whoever else moved it meanwhile
makes the transaction fail, so that no event has an effect twice. A position is tied to its topic by the topic's id: a
topic made anew under the same name holds other events under the same offsets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from psycopg import sql

from eventsource.consuming.catalog import relation_exists
from eventsource.consuming.database import PgConnection
from eventsource.errors import PositionConflict

TABLE = "eventsource_positions"


@dataclass(frozen=True, slots=True)
class Move:
    """A position that goes from `old` to `new`."""

    topic_id: bytes
    partition: int
    old: int
    new: int


@dataclass(frozen=True, slots=True)
class Position:
    """Where a consumer stands in a partition: `offset` is the next to be read."""

    topic: str
    topic_id: bytes
    partition: int
    offset: int


class Positions:
    """The table of positions in one Postgres schema. Every method takes part in the transaction of its connection."""

    def __init__(self, schema: str) -> None:
        self._schema = schema
        self._table = sql.Identifier(schema, TABLE)

    def create(self, connection: PgConnection) -> None:
        """Makes the table if it is missing."""
        if relation_exists(connection, self._schema, TABLE):
            return
        connection.execute(
            sql.SQL(
                "CREATE TABLE {} (consumer text NOT NULL, revision integer NOT NULL, topic_id bytea NOT NULL, "
                "partition integer NOT NULL, topic text NOT NULL, position bigint NOT NULL CHECK (position >= 0), "
                "moved_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (consumer, revision, topic_id, partition))"
            ).format(self._table)
        )

    def read(self, connection: PgConnection, consumer: str, revision: int) -> list[Position]:
        """All positions of a consumer's revision."""
        rows = connection.execute(
            sql.SQL("SELECT topic, topic_id, partition, position FROM {} WHERE consumer = %s AND revision = %s").format(
                self._table
            ),
            [consumer, revision],
        )
        return [Position(topic, bytes(topic_id), partition, offset) for topic, topic_id, partition, offset in rows]

    def read_one(
        self, connection: PgConnection, consumer: str, revision: int, topic_id: bytes, partition: int
    ) -> int | None:
        """The position in one partition, None if there is none."""
        row = connection.execute(
            sql.SQL(
                "SELECT position FROM {} WHERE consumer = %s AND revision = %s AND topic_id = %s AND partition = %s"
            ).format(self._table),
            [consumer, revision, topic_id, partition],
        ).fetchone()
        return None if row is None else int(row[0])

    def begin(
        self, connection: PgConnection, consumer: str, revision: int, topic: str, topic_id: bytes, partitions: int
    ) -> None:
        """Sets a consumer to the start of every partition of a topic. There must be no positions in it yet."""
        connection.execute(
            sql.SQL(
                "INSERT INTO {} (consumer, revision, topic_id, partition, topic, position) "
                "SELECT %s, %s, %s, number, %s, 0 FROM generate_series(0, %s - 1) AS number"
            ).format(self._table),
            [consumer, revision, topic_id, topic, partitions],
        )

    def advance(self, connection: PgConnection, consumer: str, revision: int, moves: Iterable[Move]) -> None:
        """Moves positions by compare-and-set. Raises `PositionConflict` unless each was at `old`: the caller rolls back."""
        # In one order everywhere, so that two movers of the same positions wait for each other instead of dead-locking.
        ordered = sorted(moves, key=lambda move: (move.topic_id, move.partition))
        if not ordered:
            return
        statement = sql.SQL(
            "UPDATE {} SET position = %s, moved_at = now() "
            "WHERE consumer = %s AND revision = %s AND topic_id = %s AND partition = %s AND position = %s"
        ).format(self._table)
        with connection.cursor() as cursor:
            cursor.executemany(
                statement, [(move.new, consumer, revision, move.topic_id, move.partition, move.old) for move in ordered]
            )
            if cursor.rowcount != len(ordered):
                raise PositionConflict(
                    f"somebody else moved the position of {consumer!r}: {cursor.rowcount} of {len(ordered)} partitions stood where "
                    "they were read; it is read anew"
                )

    def forget(self, connection: PgConnection, consumer: str) -> None:
        """Deletes all positions of a consumer, of every revision."""
        connection.execute(sql.SQL("DELETE FROM {} WHERE consumer = %s").format(self._table), [consumer])


def by_partition(positions: Iterable[Position]) -> Mapping[tuple[str, int], int]:
    """Offsets by topic and partition."""
    return {(position.topic, position.partition): position.offset for position in positions}
