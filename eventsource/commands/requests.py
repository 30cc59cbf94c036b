"""The requests of a client that have no answer yet, and the thread that reads the answers."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import structlog

from eventsource.clock import Clock
from eventsource.commands.pending import Pending
from eventsource.commands.receipt import Receipt
from eventsource.commands.reply import Reply
from eventsource.errors import Backlogged, ClientClosed, CommandIdReused, DecodeError, OutcomeUnknown
from eventsource.log.admin import LogAdmin
from eventsource.log.partitioner import partition_for
from eventsource.log.reader import LogReader
from eventsource.log.record import Record

_log = structlog.get_logger("eventsource.client")
_READ_SECONDS: Final = 0.05
_READ_RECORDS: Final = 5_000

Answer = Callable[[Reply], Receipt | Exception]


class _Waiting(NamedTuple):
    pending: Pending
    content: tuple[object, ...]
    answer: Answer
    deadline: float
    timeout_seconds: float


class Requests:
    """Bounded by `max_in_flight`. Replies are read from one partition of the replies topic, chosen by the client's id."""

    def __init__(
        self,
        client_config: Mapping[str, Any],
        topic: str,
        *,
        client_id: bytes,
        max_in_flight: int,
        clock: Clock,
        request_timeout_seconds: float,
    ) -> None:
        self.client_id = client_id
        self._clock = clock
        self._max_in_flight = max_in_flight
        # A full client lets nobody in before an eighth of the places is free: woken for every single answer, the sender and
        # the reader of answers would change places for each command.
        self._reopens_at = max_in_flight - max(1, max_in_flight // 8)
        self._room = threading.Condition()
        self._ended = False
        self._waiting: dict[str, _Waiting] = {}
        self._deadlines: list[tuple[float, str]] = []
        self._stop = threading.Event()
        admin = LogAdmin(client_config, request_timeout_seconds=request_timeout_seconds)
        self.partition = partition_for(client_id, admin.partition_counts([topic])[topic])
        where = (topic, self.partition)
        # The end is resolved before the first request is sent: a consumer told to begin "at the end" resolves it later, and
        # loses the replies that came first.
        self._start = {where: admin.end_offsets([where])[where]}
        self._client_config = client_config
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="eventsource client", daemon=True)
        self._serve: Callable[[], object] = lambda: None

    def start(self, serve: Callable[[], object]) -> None:
        """Begins to read replies; `serve` is called in every turn of the thread."""
        self._serve = serve
        self._thread.start()

    @property
    def in_flight(self) -> int:
        """How many requests have no answer yet."""
        return len(self._waiting)

    def enter(
        self, pending: Pending, content: tuple[object, ...], answer: Answer, timeout_seconds: float, *, wait: bool
    ) -> Pending:
        """Takes a place for a request and returns it; or the one that is in flight with the same id and content.

        Raises `Backlogged` when there is no place, and `CommandIdReused` when the id is in flight with another content.
        """
        deadline = self._clock.monotonic() + timeout_seconds
        with self._room:
            if len(self._waiting) >= self._max_in_flight and wait:
                self._room.wait_for(lambda: self._ended or len(self._waiting) <= self._reopens_at, timeout_seconds)
            if self._ended:
                raise ClientClosed(
                    f"this client has stopped{f' ({self._failure})' if self._failure else ''}: connect again"
                )
            if len(self._waiting) >= self._max_in_flight:
                raise Backlogged(self._max_in_flight)
            twin = self._waiting.get(pending.command_id)
            if twin is not None:
                if twin.content != content:
                    raise CommandIdReused(pending.command_id)
                return twin.pending
            self._waiting[pending.command_id] = _Waiting(pending, content, answer, deadline, timeout_seconds)
            heapq.heappush(self._deadlines, (deadline, pending.command_id))
        return pending

    def leave(self, pending: Pending) -> bool:
        """Gives a request's place back; False if it was given back before."""
        with self._room:
            waiting = self._waiting.get(pending.command_id)
            if waiting is None or waiting.pending is not pending:
                return False
            del self._waiting[pending.command_id]
            self._tell_of_room()
        return True

    def _tell_of_room(self) -> None:
        if len(self._waiting) <= self._reopens_at:
            self._room.notify_all()

    def fail(self, pending: Pending, error: Exception) -> None:
        """Answers a request with an error."""
        if self.leave(pending):
            pending.resolve(None, error)

    def close(self) -> None:
        """Stops reading; what is unanswered becomes `OutcomeUnknown`."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    # --- the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            with LogReader(self._client_config, committed_only=False) as reader:
                reader.assign(self._start)
                while not self._stop.is_set():
                    self._take(reader.read(_READ_RECORDS, _READ_SECONDS))
                    self._serve()
                    self._expire(self._clock.monotonic())
        except Exception as error:  # noqa: BLE001 - told to whoever uses the client next
            _log.error("client_stopped", error=str(error), kind=type(error).__name__)
            self._failure = error
        finally:
            with self._room:
                self._ended = True
                self._room.notify_all()
            self._expire(float("inf"))

    def _take(self, records: Sequence[Record]) -> None:
        replies = [reply for record in records for reply in self._replies(record)]
        if not replies:
            return
        with self._room:
            # What is unknown came after its time-out, or twice.
            answered = [
                (waiting, reply)
                for reply in replies
                if (waiting := self._waiting.pop(reply.command_id, None)) is not None
            ]
            self._tell_of_room()
        for waiting, reply in answered:
            self._answer(waiting, reply)

    def _replies(self, record: Record) -> Sequence[Reply]:
        if record.key != self.client_id or record.value is None:
            return ()
        try:
            return Reply.decode_all(record.value)
        except DecodeError as error:
            _log.error("reply_unreadable", error=str(error))
            return ()

    def _answer(self, waiting: _Waiting, reply: Reply) -> None:
        try:
            found = waiting.answer(reply)
        except Exception as error:  # noqa: BLE001 - one unreadable answer must not keep the others waiting
            found = DecodeError(
                f"the answer to command {reply.command_id} cannot be read ({type(error).__name__}: {error}): upgrade the client"
            )
        if isinstance(found, Receipt):
            waiting.pending.resolve(found)
        else:
            waiting.pending.resolve(None, found)

    def _expire(self, now: float) -> None:
        while True:
            with self._room:
                if not self._deadlines or self._deadlines[0][0] > now:
                    return
                _, command_id = heapq.heappop(self._deadlines)
                waiting = self._waiting.get(command_id)
            # An answered command may have been sent again under its id: what is due is its first deadline, not the new one.
            if waiting is not None and waiting.deadline <= now:
                pending = waiting.pending
                self.fail(pending, OutcomeUnknown(command_id, pending.sent_at, waiting.timeout_seconds))
