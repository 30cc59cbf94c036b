"""What is read from the log and what is written to it.

Named tuples: made for every message, they cost a third of a frozen dataclass. Where one is made for every record, it is by
`tuple.__new__(Record, (…))`, which costs half of `Record(…)` again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:  # a test in memory loads no client
    from confluent_kafka import Message

Headers = Sequence[tuple[str, bytes | None]]
"""A header's value may be null in Kafka: others than the framework write such."""

UNREADABLE_HEADERS: Final[Headers] = (("es-unreadable", b"a header's name is not UTF-8"),)
"""In place of headers that librdkafka's binding cannot read."""


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
    headers: Any  # pairs of str and bytes or None
    try:
        headers = message.headers() or ()
    except (SystemError, UnicodeDecodeError):  # SystemError is confluent-kafka's, for a name that is not UTF-8
        headers = UNREADABLE_HEADERS
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
            headers,
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
        headers = sum(len(name.encode()) + len(value or b"") for name, value in self.headers)
        return len(self.key) + len(self.value) + headers
