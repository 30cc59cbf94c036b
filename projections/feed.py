"""The log as a projection reads it: its topics as the broker knows them, and reading that begins where the database says."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from eventsource.consuming.positions import Move
from eventsource.errors import OffsetLost, TopicMismatch, TopicMissing
from eventsource.log.admin import LogAdmin
from eventsource.log.reader import LogReader
from eventsource.log.record import Record
from eventsource.settings import KafkaSettings
from projections.plan import Plan
from projections.store import Topic

TopicAndPartition = tuple[str, int]


def find_topics(plan: Plan, admin: LogAdmin) -> list[Topic]:
    """The topics that a projection reads. Raises `TopicMissing`, `TopicMismatch` where partitions are more or fewer than the app's."""
    names = list(plan.aggregates)
    ids, counts = admin.topic_ids(names), admin.partition_counts(names)
    topics = []
    for name, aggregate in plan.aggregates.items():
        if name not in ids or name not in counts:
            raise TopicMissing(f"topic {name} does not exist: make it with `eventsource topics apply MODULE:APP`")
        wanted = plan.app.partitions_of(aggregate)
        if counts[name] != wanted:
            raise TopicMismatch(
                f"topic {name} has {counts[name]} partitions and the app says {wanted}: partitions can never change, say partitions="
                f"{counts[name]} in App(…)"
            )
        topics.append(Topic(name, ids[name], wanted))
    return topics


class Feed:
    """A reader of some partitions that knows where each stands, in the database and in the log. Belongs to one thread."""

    def __init__(self, plan: Plan, settings: KafkaSettings) -> None:
        self._plan = plan
        self._admin = LogAdmin(settings.client_config(), request_timeout_seconds=settings.request_timeout_seconds)
        try:
            self._reader = LogReader(settings.client_config())
        except BaseException:
            self._admin.close()
            raise
        self._topics: dict[str, Topic] = {}
        self._positions: dict[TopicAndPartition, int] = {}

    @property
    def positions(self) -> Mapping[TopicAndPartition, int]:
        """The position in each partition that is read, as the database has it."""
        return self._positions

    def topics(self) -> list[Topic]:
        """The projection's topics, asked of the broker now."""
        topics = find_topics(self._plan, self._admin)
        self._topics = {topic.name: topic for topic in topics}
        return topics

    def ends(self) -> dict[TopicAndPartition, int]:
        """One past the last committed record of every partition of the projection."""
        return self._admin.end_offsets(self._plan.partitions, committed_only=True)

    def assign(self, positions: Mapping[TopicAndPartition, int]) -> None:
        """Reads these partitions from these offsets, and no others. Raises `OffsetLost` where the log does not hold them."""
        self._check(positions)
        self._reader.assign(positions)
        self._positions = dict(positions)

    def add(self, positions: Mapping[TopicAndPartition, int]) -> None:
        """Reads these partitions too."""
        self._check(positions)
        self._reader.add(positions)
        self._positions.update(positions)

    def remove(self, partitions: Collection[TopicAndPartition]) -> None:
        """Stops reading these partitions."""
        self._reader.remove(partitions)
        for partition in partitions:
            del self._positions[partition]

    def read(self, max_records: int, timeout_seconds: float) -> list[Record]:
        """The next records of the partitions that are read."""
        # what was fetched before a partition was taken away may still arrive
        return [
            record
            for record in self._reader.read(max_records, timeout_seconds)
            if record.offset >= self._positions.get((record.topic, record.partition), record.offset + 1)
        ]

    def moves(self, records: Sequence[Record]) -> list[Move]:
        """What the positions become once these records are dealt with: one past the last of each partition."""
        last: dict[TopicAndPartition, int] = {}
        for record in records:
            last[record.topic, record.partition] = record.offset
        return [self._move(partition, offset + 1) for partition, offset in last.items()]

    def moves_past_markers(self) -> list[Move]:
        """What the positions become when nothing is left to read but the ends of transactions, which take offsets too.

        Only to be called after `read` returned nothing: then every record below the reader's own position was dealt with.
        """
        found = []
        for partition, stored in self._positions.items():
            position = self._reader.position(*partition)
            if position > stored:
                found.append(self._move(partition, position))
        return found

    def moved(self, moves: Sequence[Move]) -> None:
        """The database has these positions now."""
        names = {topic.id: topic.name for topic in self._topics.values()}
        for move in moves:
            self._positions[names[move.topic_id], move.partition] = move.new

    def close(self) -> None:
        """Closes the connections."""
        self._reader.close()
        self._admin.close()

    def _move(self, partition: TopicAndPartition, new: int) -> Move:
        topic, number = partition
        return Move(self._topics[topic].id, number, self._positions[partition], new)

    def _check(self, positions: Mapping[TopicAndPartition, int]) -> None:
        first = self._admin.first_offsets(positions)
        end = self._admin.end_offsets(positions)
        for partition, position in positions.items():
            where = f"{partition[0]}, partition {partition[1]}"
            name = self._plan.definition.name
            if position < first[partition]:
                raise OffsetLost(
                    f"projection {name!r} is to read {where} from offset {position}, and the log begins at {first[partition]}: "
                    "events were deleted, find out by whom before anything is rebuilt (retention must be unlimited)"
                )
            if position > end[partition]:
                raise OffsetLost(
                    f"projection {name!r} has read {where} up to offset {position}, and the log ends at {end[partition]}: it lost events "
                    f"that are in the read model; restore the topic, or accept the loss with `eventsource projections rebuild {name}`"
                )
