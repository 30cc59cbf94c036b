"""The newest command of each partition that left a trace, from the ends of events and outcomes: no replay is needed for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from eventsource.doctor.facts import Owned
from eventsource.log.admin import LogAdmin, TopicAndPartition
from eventsource.log.header_reading import read_event_headers, read_outcome_headers
from eventsource.log.headers import Origin
from eventsource.log.reader import LogReader
from eventsource.log.record import Record

_FIRST_LOOK: Final = 64


def read_last_origins(
    owned: Owned, commands_topic_id: bytes, admin: LogAdmin, client_config: Mapping[str, Any], timeout_seconds: float
) -> dict[TopicAndPartition, int]:
    """By the partition of the commands topic: the offset of the newest command with an event or outcome, -1 where there is none.

    Commands are handled in order, so the last record of a partition tells. What stands at its end may be transaction markers
    and aborted records, which nobody is shown: from further and further back is read until a record is found.

    Raises `BrokerUnavailable`, and `HeaderError` when such a record is not the framework's.
    """
    partitions = owned.fact_partitions()
    firsts, ends = admin.first_offsets(partitions), admin.end_offsets(partitions, committed_only=True)
    last: dict[TopicAndPartition, Record] = {}
    back = _FIRST_LOOK
    left = [where for where in partitions if firsts[where] < ends[where]]
    with LogReader(client_config) as reader:
        while left:
            starts = {where: max(firsts[where], ends[where] - back) for where in left}
            last.update(_read(reader, starts, ends, timeout_seconds))
            left = [where for where in left if where not in last and starts[where] > firsts[where]]
            back *= 16
    found = dict.fromkeys(owned.command_partitions(), -1)
    for (topic, number), record in last.items():
        origin = _origin(record, event=topic == owned.events)
        if origin.topic_id == commands_topic_id:
            found[owned.commands, number] = max(found[owned.commands, number], origin.offset)
    return found


def _read(
    reader: LogReader,
    starts: Mapping[TopicAndPartition, int],
    ends: Mapping[TopicAndPartition, int],
    timeout_seconds: float,
) -> dict[TopicAndPartition, Record]:
    """The last record of each partition between `starts` and `ends`, where there is one."""
    reader.assign(starts)
    return {
        (record.topic, record.partition): record
        for records in reader.read_to({where: ends[where] for where in starts}, patience_seconds=timeout_seconds)
        for record in records
    }


def _origin(record: Record, *, event: bool) -> Origin:
    return (read_event_headers if event else read_outcome_headers)(record.headers).origin
