"""Which commands were handled before, and what their first answer was."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from eventsource.commands.answer_ages import AnswerAges
from eventsource.commands.status import Status

_native: Any  # a module is never None to mypyc, which would take what follows from that for certain
try:
    from eventsource.commands import native_answers as _native
except ImportError:  # it was not compiled
    _native = None

CLOCK_SKEW_MS: Final = 3_600_000
"""How far a sender's clock may differ from the broker's, in milliseconds: ids are kept that much longer than the window."""

_FIXED: Final = struct.Struct(
    ">8sBqqH"
)  # body hash, status, version, offset, length of the code; code and details follow


@dataclass(slots=True, init=False)
class Answer:
    """The first answer to a command. `offset` is that of the aggregate's newest event, -1 where it has none.

    Until the batch is committed, that event may have an `index` among the batch's records instead; -1 means it has its offset.
    """

    body_hash: bytes
    status: Status
    version: int
    offset: int
    index: int
    code: str
    details: str

    def __init__(  # written out: compiled, it is half of the one that is made at run time
        self,
        body_hash: bytes,
        status: Status,
        version: int,
        offset: int,
        index: int = -1,
        code: str = "",
        details: str = "",
    ) -> None:
        self.body_hash = body_hash
        self.status = status
        self.version = version
        self.offset = offset
        self.index = index
        self.code = code
        self.details = details

    def pack(self) -> bytes:
        """The answer as memory and state store keep it."""
        if not self.code and not self.details:
            if _native is not None:
                packed: bytes = _native.pack_answer(self.body_hash, self.status, self.version, self.offset)
                return packed
            return _FIXED.pack(self.body_hash, self.status, self.version, self.offset, 0)
        code = self.code.encode()
        fixed = _FIXED.pack(self.body_hash, self.status, self.version, self.offset, len(code))
        return b"".join((fixed, code, self.details.encode()))

    @classmethod
    def unpack(cls, data: bytes) -> Answer:
        """Reads what `pack` made."""
        body_hash, status, version, offset, code_bytes = _FIXED.unpack_from(data)
        code_end = _FIXED.size + code_bytes
        return cls(
            body_hash,
            Status(status),
            version,
            offset,
            -1,
            data[_FIXED.size : code_end].decode(),
            data[code_end:].decode(),
        )


class Deduplication:
    """The answers given by one partition, by command id. What a batch adds counts at once, but is kept only by `commit`.

    `window_ms` is how long an answer is remembered at least, in milliseconds after the command was appended to the log; None:
    forever.
    """

    def __init__(self, window_ms: int | None) -> None:
        self.window_ms = window_ms
        self.answers = AnswerAges()
        self.newest_ms = 0
        """The LogAppendTime of the newest command that was answered, in milliseconds."""
        self._pending: dict[str, Answer] = {}
        self._pending_newest_ms = 0
        self._age_began_ms: int | None = None

    def find(self, command_id: str) -> Answer | None:
        """The first answer to a command, if it is in memory."""
        answer = self._pending.get(command_id)
        if answer is not None:
            return answer
        packed = self.answers.get(command_id)
        return Answer.unpack(packed) if packed is not None else None

    def absent(self, command_ids: Iterable[str]) -> list[str]:
        """Those of the ids that memory does not hold."""
        pending, get = self._pending, self.answers.get
        return [id_ for id_ in command_ids if id_ not in pending and get(id_) is None]

    def is_expired(self, sent_at_ms: int, appended_at_ms: int) -> bool:
        """Whether a command is older than the window, so that its id may have been forgotten."""
        return self.window_ms is not None and appended_at_ms - sent_at_ms > self.window_ms

    @property
    def forget_before_ms(self) -> int | None:
        """Answers to commands appended before this may be forgotten; None: none may."""
        return None if self.window_ms is None else self.newest_ms - self.window_ms - CLOCK_SKEW_MS

    def is_forgotten(self, appended_at_ms: int) -> bool:
        """Whether the answer to a command that was appended then may have been forgotten."""
        before_ms = self.forget_before_ms
        return before_ms is not None and appended_at_ms < before_ms

    def add(self, command_id: str, answer: Answer, appended_at_ms: int) -> None:
        """Notes an answer of the batch that is being handled."""
        self._pending[command_id] = answer
        self._pending_newest_ms = appended_at_ms  # the log's own time: it does not run backwards within a partition

    def remember(self, command_id: str, answer: Answer, appended_at_ms: int, newest_ms: int) -> None:
        """Notes an answer read back from the log, unless it may be forgotten already. It moves the newest time up to `newest_ms`."""
        self._keep(command_id, answer.pack(), appended_at_ms, newest_ms)

    def remember_accepted(
        self, command_id: str, body_hash: bytes, version: int, offset: int, appended_at_ms: int, newest_ms: int
    ) -> None:
        """Notes that a command was accepted, as one of its events in the log shows."""
        self._keep(command_id, Answer(body_hash, Status.ACCEPTED, version, offset).pack(), appended_at_ms, newest_ms)

    def _keep(self, command_id: str, packed: bytes, appended_at_ms: int, newest_ms: int) -> None:
        if self.is_forgotten(appended_at_ms):
            return  # outcomes are read back after all events: most of them are as old as the log
        self.newest_ms = max(self.newest_ms, newest_ms)
        self.answers.put(command_id, packed)

    def add_saved(self, command_id: str, packed: bytes) -> None:
        """Takes in an answer that was read from the state store."""
        self.answers.add_saved(command_id, packed)

    def commit(self, offsets: list[int]) -> None:
        """Keeps what the batch added, whose records were given these offsets."""
        answers = self.answers
        for command_id, answer in self._pending.items():
            if answer.index >= 0:
                answer.offset = offsets[answer.index]
                answer.index = -1
            answers.put(command_id, answer.pack())
        self.newest_ms = max(self.newest_ms, self._pending_newest_ms)
        self.rollback()

    def rollback(self) -> None:
        """Forgets what the batch added."""
        self._pending.clear()

    def forget_in_memory(self) -> None:
        """Forgets what the window allows, where there is no state store: nothing before its time, everything within two windows."""
        oldest_ms = self.forget_before_ms
        if oldest_ms is None:
            return
        if self._age_began_ms is None:
            self._age_began_ms = self.newest_ms
        elif self._age_began_ms < oldest_ms:
            self.answers.drop_unsaved_age()
            self._age_began_ms = self.newest_ms

    def __len__(self) -> int:
        return len(self.answers) + len(self._pending)
