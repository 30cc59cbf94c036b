"""Dead letters: copies of the commands that failed, written in the transaction of their outcome.

The command's own key, value and headers, and one header `es-dead-letter` (JSON): the error's class, and where the command
stands. The error's text is not in it: it may quote what is in the command, and is in the worker's log.
"""

from __future__ import annotations

import json
from typing import Final

from eventsource.log.record import Outgoing, Record

DEAD_LETTER_HEADER: Final = "es-dead-letter"


def dead_letter(record: Record, topic: str, error: str, max_bytes: int) -> Outgoing:
    """The dead letter of a command. One of more than `max_bytes` bytes is a reference alone: its `complete` is false."""
    letter = Outgoing(
        topic,
        record.partition,
        record.key,
        record.value if record.value is not None else b"",
        [*record.headers, _header(record, error, complete=True)],
    )
    if letter.size_bytes <= max_bytes:
        return letter
    return Outgoing(topic, record.partition, record.key[:_KEY_BYTES], b"", [_header(record, error, complete=False)])


_KEY_BYTES: Final = 1_024  # of a key that may be the very reason why the record is too large


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
