"""Which commands were handled before, and what their first answer was."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from eventsource.commands.status import Status

CLOCK_SKEW_MS: Final = 3_600_000
"""How far a sender's clock may differ from the broker's, in milliseconds: ids are kept that much longer than the window."""


@dataclass(slots=True)
class Answer:
    """The first answer to a command. `offset` is that of the aggregate's newest event, -1 where it has none.

    Until the batch is committed, that event may have an `index` among the batch's records instead; -1 means it has its offset.
    """

    body_hash: bytes
    status: Status
    version: int
    offset: int
    index: int = -1
    code: str = ""
    details: str = ""


class Deduplication:
    """The answers given by one partition, by command id. What a batch adds counts at once, but is kept only by `commit`.

    `window_ms` is how long an answer is remembered, in milliseconds after the command was appended to the log; None: forever.
    """

    def __init__(self, window_ms: int | None) -> None:
        self.window_ms = window_ms
        self._answers: dict[str, Answer] = {}
        self._pending: dict[str, Answer] = {}
        self._pending_times: list[tuple[int, str]] = []
        self._by_time: deque[tuple[int, str]] = deque()
        self._newest_ms = 0

    def find(self, command_id: str) -> Answer | None:
        """The first answer to a command, if it is remembered."""
        return self._pending.get(command_id) or self._answers.get(command_id)

    def is_expired(self, sent_at_ms: int, appended_at_ms: int) -> bool:
        """Whether a command is older than the window, so that its id may have been forgotten."""
        return self.window_ms is not None and appended_at_ms - sent_at_ms > self.window_ms

    def add(self, command_id: str, answer: Answer, appended_at_ms: int) -> None:
        """Notes an answer of the batch that is being handled."""
        self._pending[command_id] = answer
        self._pending_times.append((appended_at_ms, command_id))

    def remember(self, command_id: str, answer: Answer, appended_at_ms: int) -> None:
        """Notes an answer read back from the log, unless it is older than what would still be remembered."""
        self._newest_ms = max(self._newest_ms, appended_at_ms)
        if command_id not in self._answers:
            self._by_time.append((appended_at_ms, command_id))
        self._answers[command_id] = answer
        self._forget()

    def commit(self, offsets: list[int]) -> None:
        """Keeps what the batch added, whose records were given these offsets."""
        for answer in self._pending.values():
            if answer.index >= 0:
                answer.offset = offsets[answer.index]
                answer.index = -1
        self._answers.update(self._pending)
        self._by_time.extend(self._pending_times)
        if self._pending_times:
            self._newest_ms = max(self._newest_ms, self._pending_times[-1][0])
        self.rollback()
        self._forget()

    def rollback(self) -> None:
        """Forgets what the batch added."""
        self._pending.clear()
        self._pending_times.clear()

    def _forget(self) -> None:
        if self.window_ms is None:
            return
        oldest_ms = self._newest_ms - self.window_ms - CLOCK_SKEW_MS
        while self._by_time and self._by_time[0][0] < oldest_ms:
            _, command_id = self._by_time.popleft()
            self._answers.pop(command_id, None)

    def __len__(self) -> int:
        return len(self._answers) + len(self._pending)
