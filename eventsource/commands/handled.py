"""What a batch of commands led to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from eventsource.commands.deduplication import Answer
from eventsource.commands.request import PendingReply
from eventsource.commands.status import Status
from eventsource.log.record import Outgoing

MAX_STATE_BYTES: Final = 8 << 20


@dataclass(slots=True)
class Handled:
    """The records of its transaction, the next commands offset, and the replies after it."""

    next_offset: int = -1
    records: list[Outgoing] = field(default_factory=list)
    taken: int = 0
    """How many records were taken out of `records` already."""
    replies: list[PendingReply] = field(default_factory=list)
    loads: list[Answer] = field(default_factory=list)
    newest_event: tuple[int, str, int] | None = None
    """Of the newest event: the index among the records, its command's id, and how many events that one has."""
    newest_outcome: tuple[int, str] | None = None
    """Of the newest outcome: the index among the records, and the `ce_id`."""
    last_origin: int = -1
    """The offset of the newest command that left an event or outcome."""
    statuses: list[Status] = field(default_factory=list)
    """What became of each command, repetitions and loads left out."""

    state_bytes: int = 0
    """How much the states take that answer loads; beyond `max_state_bytes` the batch ends."""
    max_state_bytes: int = MAX_STATE_BYTES

    @property
    def is_full(self) -> bool:
        """Whether the batch ends here, because its answers take enough memory already."""
        return self.state_bytes > self.max_state_bytes

    @property
    def written(self) -> int:
        """How many records there are so far: the index of the next."""
        return self.taken + len(self.records)

    def outcomes(self, commands: int) -> dict[str, int]:
        """How many of a batch's `commands` came to what, for metrics."""
        found = {status.name.lower(): count for status, count in Counter(self.statuses).items()}
        loads = len(self.loads)
        repeated = commands - len(self.statuses) - loads
        if loads:
            found["loaded"] = loads
        if repeated:
            found["repeated"] = repeated
        return found

    def take(self) -> list[Outgoing]:
        """The records since the last time."""
        records, self.records = self.records, []
        self.taken += len(records)
        return records
