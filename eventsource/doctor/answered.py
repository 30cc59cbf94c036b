"""What clients were answered lately: the OK answers that the replies topic still holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from eventsource.commands.reply import Reply
from eventsource.commands.status import Status
from eventsource.errors import DecodeError
from eventsource.log.admin import LogAdmin, TopicAndPartition
from eventsource.log.reader import LogReader

_RECORDS: Final = 10_000
"""Of each partition of the replies topic, the newest: one record holds many replies."""

Answered = Mapping[tuple[int, int], Mapping[int, str]]
"""By the CRC of the commands topic and the partition: the offset in the events topic that an OK answer names, and the command's id."""


def read_answered(
    replies: str, partitions: int, admin: LogAdmin, client_config: Mapping[str, Any], timeout_seconds: float
) -> Answered:
    """The OK answers that name an event. Raises `LogError`s; what is no reply is passed over."""
    places: list[TopicAndPartition] = [(replies, number) for number in range(partitions)]
    firsts, ends = admin.first_offsets(places), admin.end_offsets(places)
    left = {where: max(firsts[where], ends[where] - _RECORDS) for where in places if firsts[where] < ends[where]}
    found: dict[tuple[int, int], dict[int, str]] = {}
    if not left:
        return found
    with LogReader(client_config, committed_only=False) as reader:
        reader.assign(left)
        for records in reader.read_to({where: ends[where] for where in left}, patience_seconds=timeout_seconds):
            for record in records:
                for reply in _replies(record.value):
                    if reply.status is Status.ACCEPTED and reply.offset >= 0:
                        found.setdefault((reply.topic_crc, reply.partition), {})[reply.offset] = reply.command_id
    return found


def _replies(value: bytes | None) -> list[Reply]:
    try:
        return Reply.decode_all(value or b"")
    except DecodeError:
        return []  # of another version, or another writer: nothing is claimed about it
