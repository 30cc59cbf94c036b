"""The requests of a client that have no answer yet: their places, their deadlines, and the ids that are taken."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from eventsource.clock import Clock
from eventsource.commands.pending import Pending
from eventsource.commands.reply import Reply
from eventsource.errors import Backlogged, ClientClosed, CommandIdReused

_LOOK_AGAIN_SECONDS: Final = 0.05
_SPARE_DEADLINES: Final = 64


class Content(NamedTuple):
    """What tells a request from another one under the same id: commands topic, body hash, and the version it expects.

    `body_hash` is that of the bytes that are sent, by which the reply names the request. `equal_hash` makes the one that requests of
    equal content share whatever their bytes; None where equal content has equal bytes.
    """

    topic_crc: int
    body_hash: bytes
    expected_version: int | None = None
    equal_hash: Callable[[], bytes] | None = None

    def repeats(self, other: Content) -> bool:
        """Whether both ask for the same."""
        if (self.topic_crc, self.expected_version) != (other.topic_crc, other.expected_version):
            return False
        if self.body_hash == other.body_hash:
            return True
        if self.equal_hash is None or other.equal_hash is None:
            return False
        return self.equal_hash() == other.equal_hash()


class Waiting(NamedTuple):
    """A request without an answer; `answer` resolves it with a reply."""

    pending: Pending[Any]
    content: Content
    answer: Callable[[Reply], object]
    deadline: float
    timeout_seconds: float


class InFlight:
    """At most `limit` requests. Safe to share between threads.

    Its memory grows with the requests that wait, never with those that were answered.
    """

    def __init__(self, limit: int, clock: Clock) -> None:
        self._limit = limit
        # Once full, it lets nobody in before an eighth of the places is free: woken for every single answer, the sender and
        # the reader of answers would change places for each command.
        self._reopens_at = limit - max(1, limit // 8)
        self._clock = clock
        self._room = threading.Condition()
        self._waiting: dict[str, Waiting] = {}
        self._deadlines: list[tuple[float, str]] = []
        self._ended: str | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def deadlines(self) -> int:
        """How many deadlines are kept: never many more than twice the requests that wait."""
        return len(self._deadlines)

    def enter(
        self,
        pending: Pending[Any],
        content: Content,
        answer: Callable[[Reply], object],
        timeout_seconds: float,
        *,
        wait: bool,
    ) -> Waiting:
        """Takes a place for a request; or returns the one that is in flight with the same id and content, which needs none.

        Raises `Backlogged` when there is no place, or none within the time-out; `CommandIdReused` when the id is in flight with
        another content; `ClientClosed` after `end`.
        """
        deadline = self._clock.monotonic() + timeout_seconds
        with self._room:
            twin = self._twin(pending, content)
            if twin is None and wait and len(self._waiting) >= self._limit:
                self._wait_for_room(deadline)
                twin = self._twin(pending, content)
            if self._ended is not None:
                raise ClientClosed(self._ended)
            if twin is not None:
                return twin
            if len(self._waiting) >= self._limit:
                raise Backlogged(len(self._waiting))
            waiting = Waiting(pending, content, answer, deadline, timeout_seconds)
            self._waiting[pending.command_id] = waiting
            heapq.heappush(self._deadlines, (deadline, pending.command_id))
            if len(self._deadlines) > 2 * len(self._waiting) + _SPARE_DEADLINES:
                self._forget_answered()
        return waiting

    def _twin(self, pending: Pending[Any], content: Content) -> Waiting | None:
        twin = self._waiting.get(pending.command_id)
        if twin is not None and not content.repeats(twin.content):
            raise CommandIdReused(pending.command_id)
        return twin

    def _wait_for_room(self, deadline: float) -> None:
        while self._ended is None and len(self._waiting) >= self._limit:
            left_seconds = deadline - self._clock.monotonic()
            if left_seconds <= 0:
                return
            # Where most requests stay unanswered, an eighth may never be free: any place will do after a while.
            self._room.wait_for(
                lambda: self._ended is not None or len(self._waiting) <= self._reopens_at,
                min(left_seconds, _LOOK_AGAIN_SECONDS),
            )

    def _forget_answered(self) -> None:
        self._deadlines = [(waiting.deadline, id_) for id_, waiting in self._waiting.items()]
        heapq.heapify(self._deadlines)

    def leave(self, pending: Pending[Any]) -> bool:
        """Gives a request's place back; False if it was given back before."""
        with self._room:
            waiting = self._waiting.get(pending.command_id)
            if waiting is None or waiting.pending is not pending:
                return False
            del self._waiting[pending.command_id]
            self._tell_of_room()
        return True

    def take(self, replies: Iterable[Reply]) -> list[tuple[Waiting, Reply]]:
        """Gives the places of answered requests back. A reply that nobody waits for came after its time-out, or twice.

        So did one to other content under the same id: it says nothing about the request that is in flight now.
        """
        answered = []
        with self._room:
            for reply in replies:
                waiting = self._waiting.get(reply.command_id)
                if waiting is None:
                    continue
                content = waiting.content
                if reply.body_hash == content.body_hash and reply.topic_crc == content.topic_crc:
                    del self._waiting[reply.command_id]
                    answered.append((waiting, reply))
            self._tell_of_room()
        return answered

    def take_expired(self, now: float) -> list[Waiting]:
        """Gives the places back of the requests whose deadline is over."""
        expired = []
        with self._room:
            while self._deadlines and self._deadlines[0][0] <= now:
                _, command_id = heapq.heappop(self._deadlines)
                waiting = self._waiting.get(command_id)
                # An answered command may have been sent again under its id: what is due is its first deadline, not the new one.
                if waiting is not None and waiting.deadline <= now:
                    del self._waiting[command_id]
                    expired.append(waiting)
            if expired:
                self._tell_of_room()
        return expired

    def end(self, reason: str) -> None:
        """Lets nobody in any more: who waits for a place is told the reason."""
        with self._room:
            self._ended = reason
            self._room.notify_all()

    def _tell_of_room(self) -> None:
        if len(self._waiting) <= self._reopens_at:
            self._room.notify_all()
