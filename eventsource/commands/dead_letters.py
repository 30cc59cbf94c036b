"""Dead letters: copies of the commands that failed, written in the transaction of their outcome.

The command's own key, value and headers, and one header `es-dead-letter` (JSON): the error's class, and where the command
stands. The error's text is not in it: it may quote what is in the command, and is in the worker's log.
"""

from __future__ import annotations

import json
from typing import Final

from eventsource.log.partitioner import short_key
from eventsource.log.record import UNREADABLE_HEADERS, Outgoing, Record

DEAD_LETTER_HEADER: Final = "es-dead-letter"


def dead_letter(record: Record, topic: str, error: str, max_bytes: int) -> Outgoing:
    """The dead letter of a command. One of more than `max_bytes` bytes is a reference alone: its `complete` is false.

    So is that of a key that no aggregate may have, which is shortened; and what has unreadable headers is not complete either.
    """
    key = short_key(record.key)
    letter = Outgoing(
        topic,
        record.partition,
        key,
        record.value if record.value is not None else b"",
        [*record.headers, _header(record, error, complete=key is record.key and record.headers != UNREADABLE_HEADERS)],
    )
    if letter.size_bytes <= max_bytes:
        return letter
    return Outgoing(topic, record.partition, key, b"", [_header(record, error, complete=False)])


def _header(record: Record, error: str, *, complete: bool) -> tuple[str, bytes]:
    told = {
        "error": error,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "time_ms": record.timestamp_ms,
        "complete": complete,
    }
    return DEAD_LETTER_HEADER, json.dumps(told, separators=(",", ":")).encode()
