"""From the records of a batch to the events that concern a projection. The rest is checked and skipped, not decoded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from eventsource.log.events import EventDecoder, SequenceCheck, aggregate_id_of, version_of
from eventsource.log.record import Record
from eventsource.log.recorded import Recorded
from eventsource.schemas import SchemaStore
from projections.plan import Plan

TopicAndPartition = tuple[str, int]

# A check remembers one version per aggregate. Beyond this it forgets them all and believes the next it meets.
_MAX_REMEMBERED: Final = 500_000


class BatchDecoder:
    """Decodes the records of the topics that a projection reads. Belongs to one thread.

    Every record's version is checked against the one before it of its aggregate, whether it concerns the projection or not.
    """

    def __init__(self, plan: Plan, schemas: SchemaStore) -> None:
        self._types = plan.types
        self._decoders = {topic: EventDecoder(aggregate, schemas) for topic, aggregate in plan.aggregates.items()}
        self._checks: dict[TopicAndPartition, SequenceCheck] = {}
        self._checked: dict[TopicAndPartition, int] = {}

    def begin(self, partition: TopicAndPartition, offset: int) -> None:
        """Reading of a partition begins at an offset: what was known of its versions is forgotten."""
        self._checks[partition] = SequenceCheck(complete=offset == 0)
        self._checked[partition] = 0

    def forget(self, partition: TopicAndPartition) -> None:
        """A partition is read no longer."""
        self._checks.pop(partition, None)
        self._checked.pop(partition, None)

    def decode(self, records: Iterable[Record]) -> list[Recorded]:
        """The events that concern the projection, in the order of the records.

        Raises `HeaderError` and `DecodeError`, which say where the record stands, `UnknownFingerprint`, and `ForkDetected` when
        versions have a gap or repeat. The batch is to be given up then, and its partitions begun again.
        """
        found: list[Recorded] = []
        for record in records:
            topic = record.topic
            partition = (topic, record.partition)
            decoder = self._decoders[topic]
            if self._concerns(record):
                recorded = decoder.decode(record)
                self._checks[partition].check(recorded)
                found.append(recorded)
            else:
                self._checks[partition].check_version(
                    decoder.aggregate, aggregate_id_of(record), version_of(record), record.partition, record.offset
                )
            self._count(partition)
        return found

    def _concerns(self, record: Record) -> bool:
        for name, value in record.headers:
            if name == "ce_type" and value is not None:
                return value.partition(b".v")[0] in self._types[record.topic]
        return True  # the decoder says what is wrong with it

    def _count(self, partition: TopicAndPartition) -> None:
        count = self._checked[partition] + 1
        if count >= _MAX_REMEMBERED:
            self._checks[partition] = SequenceCheck(complete=False)
            count = 0
        self._checked[partition] = count
