"""A log in memory: topics, partitions and offsets, and nothing of Kafka's concurrency. For users' tests; it fences nobody."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from hashlib import blake2b

from eventsource.log.record import Outgoing, Record


class MemoryLog:
    """Offsets begin at 0 in every partition."""

    def __init__(self) -> None:
        self._partitions: dict[tuple[str, int], list[Record]] = defaultdict(list)

    @staticmethod
    def topic_id(topic: str) -> bytes:
        """A stable stand-in for Kafka's 16-byte topic id."""
        return blake2b(topic.encode(), digest_size=16).digest()

    def append(self, outgoing: Outgoing, timestamp_ms: int) -> Record:
        """Appends a record and returns it as it stands in the log."""
        records = self._partitions[outgoing.topic, outgoing.partition]
        record = Record(
            outgoing.topic,
            outgoing.partition,
            len(records),
            timestamp_ms,
            outgoing.key,
            outgoing.value,
            tuple(outgoing.headers),
        )
        records.append(record)
        return record

    def read(self, topic: str, partition: int) -> Sequence[Record]:
        """All records of a partition, in order."""
        return tuple(self._partitions[topic, partition])
