"""What is read from the log and what is written to it.

Named tuples: made for every message, they cost a third of a frozen dataclass. Where one is made for every record, it is by
`tuple.__new__(Record, (…))`, which costs half of `Record(…)` again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from confluent_kafka import Message

Headers = Sequence[tuple[str, bytes]]


class Record(NamedTuple):
    """A record as the log holds it. `timestamp_ms` is the broker's LogAppendTime, in milliseconds since 1970 UTC."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes
    value: bytes | None
    headers: Headers = ()


def record_of(message: Message) -> Record:
    """A message that is no error, as a record."""
    # By position, and without a look at what a message that is no error always has: this runs for every record.
    return tuple.__new__(
        Record,
        (
            message.topic(),
            message.partition(),
            message.offset(),
            message.timestamp()[1],
            message.key() or b"",  # bytes, as no deserializer is set
            message.value(),  # an empty value is falsy: only None is none
            message.headers() or (),  # librdkafka's headers are pairs of str and bytes
        ),
    )


class Outgoing(NamedTuple):
    """A record on its way into the log: the broker gives it its offset and time."""

    topic: str
    partition: int
    key: bytes
    value: bytes
    headers: Headers = ()

    @property
    def size_bytes(self) -> int:
        """Bytes of key, value and headers, without the batch's own framing."""
        return len(self.key) + len(self.value) + sum(len(name) + len(value) for name, value in self.headers)
