"""The requests of a client, and the thread that reads the answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import structlog

from eventsource.clock import Clock
from eventsource.commands.in_flight import InFlight, Waiting
from eventsource.commands.pending import Pending
from eventsource.commands.reply import Reply
from eventsource.commands.reply_position import ReplyPosition
from eventsource.errors import DecodeError
from eventsource.log.admin import LogAdmin
from eventsource.log.reader import LogReader
from eventsource.log.record import Record

_log = structlog.get_logger("eventsource.client")
_READ_SECONDS: Final = 0.05
_READ_RECORDS: Final = 1_000
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 5.0
_SOUND_SECONDS: Final = 30.0


class Requests:
    """Bounded by `max_in_flight`. Replies are read from one partition of the replies topic, chosen by the client's id.

    Whatever error reading meets, the position is resolved again and reading goes on; `close` alone ends it.
    """

    def __init__(
        self,
        client_config: Mapping[str, Any],
        topic: str,
        admin: LogAdmin,
        *,
        client_id: bytes,
        max_in_flight: int,
        clock: Clock,
    ) -> None:
        self.client_id = client_id
        self.in_flight = InFlight(max_in_flight, clock)
        self._clock = clock
        self._stop = threading.Event()
        self._position = ReplyPosition(admin, topic, client_id)
        self._client_config = client_config
        self._ends_of = admin.end_offsets
        self._thread = threading.Thread(target=self._run, name="eventsource client", daemon=True)
        self._serve: Callable[[], object] = lambda: None

    @property
    def partition(self) -> int:
        """The partition of the replies topic in which answers are expected."""
        return self._position.partition

    def start(self, serve: Callable[[], object]) -> None:
        """Begins to read replies; `serve` is called in every iteration of the thread."""
        self._serve = serve
        self._thread.start()

    def fail(self, pending: Pending[Any], error: Exception) -> None:
        """Answers a request with an error."""
        if self.in_flight.leave(pending):
            pending.resolve(None, error)

    def close(self) -> None:
        """Stops reading; what is unanswered becomes `OutcomeUnknown`. In the client's own thread, that is after this returns."""
        self._stop.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    # --- the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        pause_seconds = _FIRST_PAUSE_SECONDS
        try:
            while not self._stop.is_set():
                began = self._clock.monotonic()
                try:
                    self._read()
                except Exception as error:  # noqa: BLE001 - whatever it was: only `close` closes a client
                    _log.warning("replies_interrupted", error=str(error), kind=type(error).__name__)
                    if self._clock.monotonic() - began > _SOUND_SECONDS:
                        pause_seconds = _FIRST_PAUSE_SECONDS
                    pause_seconds = self._resolve_again(pause_seconds)
        finally:
            self.in_flight.end("this client is closed: connect again with app.connect()")
            self._expire(float("inf"))

    def _read(self) -> None:
        position = self._position
        with LogReader(self._client_config, committed_only=False, ends_of=self._ends_of) as reader:
            reader.assign({position.place: position.offset})
            while not self._stop.is_set():
                records = reader.read(_READ_RECORDS, _READ_SECONDS)
                if records:
                    position.offset = records[-1].offset + 1
                    self._take(records)
                self._look_after_requests()

    def _resolve_again(self, pause_seconds: float) -> float:
        """Returns when the position is known again, and how long to wait after the next error."""
        while not self._stop.is_set():
            self._wait(lambda: False, pause_seconds)
            pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)
            # In a thread of its own: while no broker answers, requests expire in this one.
            resolving = _Resolving(self._position)
            self._wait(resolving.done, None)
            if resolving.error is None:
                break
            _log.warning("replies_not_located", error=str(resolving.error), kind=type(resolving.error).__name__)
        return pause_seconds

    def _wait(self, done: Callable[[], bool], seconds: float | None) -> None:
        deadline = float("inf") if seconds is None else self._clock.monotonic() + seconds
        while not done() and self._clock.monotonic() < deadline and not self._stop.wait(_READ_SECONDS):
            self._look_after_requests()

    def _look_after_requests(self) -> None:
        try:
            self._serve()
        except Exception as error:  # noqa: BLE001 - delivery reports must not keep answers waiting
            _log.error("delivery_reports_failed", error=str(error), kind=type(error).__name__)
        self._expire(self._clock.monotonic())

    def _take(self, records: Sequence[Record]) -> None:
        replies = [reply for record in records for reply in self._replies(record)]
        if replies:
            for waiting, reply in self.in_flight.take(replies):
                _answer(waiting, reply)

    def _replies(self, record: Record) -> Sequence[Reply]:
        if record.key != self.client_id or record.value is None:
            return ()
        try:
            return Reply.decode_all(record.value)
        except DecodeError as error:
            _log.error("reply_unreadable", error=str(error))
            return ()

    def _expire(self, now: float) -> None:
        for waiting in self.in_flight.take_expired(now):
            waiting.pending.expire(waiting.timeout_seconds)


class _Resolving:
    """A position that is being resolved, in a thread."""

    def __init__(self, position: ReplyPosition) -> None:
        self.error: Exception | None = None
        self._position = position
        self._done = threading.Event()
        self.done = self._done.is_set
        threading.Thread(target=self._run, name="eventsource client position", daemon=True).start()

    def _run(self) -> None:
        try:
            self._position.resolve_again()
        except Exception as error:  # noqa: BLE001 - logged by the client's thread, which tries again
            self.error = error
        finally:
            self._done.set()


def _answer(waiting: Waiting, reply: Reply) -> None:
    try:
        waiting.answer(reply)
    except BaseException as error:  # noqa: BLE001 - one unreadable answer must not keep the others waiting
        unreadable = DecodeError(
            f"the answer to command {reply.command_id} cannot be read ({type(error).__name__}: {error}): upgrade the client"
        )
        waiting.pending.resolve(None, unreadable)
