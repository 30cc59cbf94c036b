"""What is read from the log and what is written to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

Headers = Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Record:
    """A record as the log holds it. `timestamp_ms` is the broker's LogAppendTime, in milliseconds since 1970 UTC."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes
    value: bytes | None
    headers: Headers = field(default=())


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record on its way into the log: the broker gives it its offset and time."""

    topic: str
    partition: int
    key: bytes
    value: bytes
    headers: Headers = field(default=())

    @property
    def size_bytes(self) -> int:
        """Bytes of key, value and headers, without the batch's own framing."""
        return len(self.key) + len(self.value) + sum(len(name) + len(value) for name, value in self.headers)
