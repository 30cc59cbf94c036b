"""What was recorded of an app's topics when they were made: its meta topic, which anybody may have written to."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import structlog

from eventsource.log.admin import LogAdmin
from eventsource.log.reader import LogReader
from eventsource.log.record import Record
from eventsource.log.unreadable_batch import BatchUnreadable
from eventsource.settings import Settings

_log = structlog.get_logger("eventsource.topics")

_TOPIC_ID: Final = re.compile(r"[0-9a-f]{32}")
_MOST_NAMED: Final = 20
_LONGEST_BYTES: Final = 10_000
_MOST_PARTITIONS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class TopicRecord:
    """What was recorded of a topic when it was made. `topic_id` is in hexadecimal."""

    topic_id: str
    partitions: int


@dataclass(slots=True)
class ForeignRecords:
    """The records of a topic that are not the framework's: how many, and the places and reasons of the first of them."""

    count: int = 0
    named: list[tuple[str, str]] = field(default_factory=list)

    def add(self, record: Record, reason: str) -> None:
        """Counts a record."""
        self._add(record.topic, record.partition, record.offset, reason)

    def add_batch(self, batch: BatchUnreadable) -> None:
        """Counts a batch that cannot be read as one record."""
        self._add(*batch.place, batch.base, "it begins a batch that cannot be unpacked")

    def _add(self, topic: str, partition: int, offset: int, reason: str) -> None:
        self.count += 1
        if len(self.named) < _MOST_NAMED:
            self.named.append((f"{topic}[{partition}]@{offset}", reason))


def read_meta(meta: str, settings: Settings, admin: LogAdmin) -> tuple[dict[str, TopicRecord], ForeignRecords]:
    """What was recorded of topics, by name, and what else is in the meta topic; nothing where that is not there.

    Of a topic the newest record counts that is the framework's. Raises `LogError`s, `BrokerUnavailable` above all.
    """
    recorded: dict[str, TopicRecord] = {}
    foreign = ForeignRecords()
    for record in records_of(meta, settings, admin, foreign):
        name = record.key.decode(errors="replace")
        try:
            # The framework takes no record back. Once the log is compacted, whatever is newest under a key is all that is left.
            recorded[name] = parse_topic_record(record.value or b"")
        except ValueError as error:
            foreign.add(record, str(error))
    if foreign.count:
        _log.warning("foreign_records_skipped", topic=meta, count=foreign.count, first=foreign.named[0][0])
    return recorded, foreign


def records_of(topic: str, settings: Settings, admin: LogAdmin, foreign: ForeignRecords) -> Iterator[Record]:
    """All records of a topic of one partition; those of open and aborted transactions too, since a stranger's must not hide others.

    The framework writes to its meta and schemas topics without transactions. Batches that cannot be read are passed over, and counted
    in `foreign`.
    """
    if topic not in admin.topic_names():
        return
    key = (topic, 0)
    end = admin.end_offsets([key])[key]
    start = admin.first_offsets([key])[key]
    if start >= end:
        return
    with LogReader(settings.kafka.client_config(), committed_only=False, ends_of=admin.end_offsets) as reader:
        reader.assign({key: start})
        for records in reader.read_to({key: end}, patience_seconds=settings.kafka.request_timeout_seconds):
            yield from records
        for batch in reader.passed_over:
            foreign.add_batch(batch)


def parse_topic_record(value: bytes) -> TopicRecord:
    """Reads a record's value. Raises `ValueError`, whatever the bytes are."""
    if len(value) > _LONGEST_BYTES:
        raise ValueError(f"a value of {len(value)} bytes is no record of a topic")
    try:
        fields = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the value is no JSON ({type(error).__name__})") from None
    topic_id, partitions = (
        (fields.get("topic_id"), fields.get("partitions")) if isinstance(fields, dict) else (None, None)
    )
    if not isinstance(topic_id, str) or not _TOPIC_ID.fullmatch(topic_id):
        raise ValueError("the value has no topic_id of 32 hexadecimal digits")
    if type(partitions) is not int or not 0 < partitions <= _MOST_PARTITIONS:
        raise ValueError("the value has no number of partitions")
    return TopicRecord(topic_id, partitions)
