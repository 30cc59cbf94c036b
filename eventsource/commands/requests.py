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
from eventsource.errors import DecodeError
from eventsource.log.admin import LogAdmin
from eventsource.log.partitioner import partition_for
from eventsource.log.reader import LogReader
from eventsource.log.record import Record

_log = structlog.get_logger("eventsource.client")
_READ_SECONDS: Final = 0.05
_READ_RECORDS: Final = 1_000


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
        self.in_flight = InFlight(max_in_flight, clock)
        self._clock = clock
        self._stop = threading.Event()
        admin = LogAdmin(client_config, request_timeout_seconds=request_timeout_seconds)
        self.partition = partition_for(client_id, len(admin.wait_until_described({topic})[topic].replicas))
        where = (topic, self.partition)
        # The end is resolved before the first request is sent: a consumer told to begin "at the end" resolves it later, and
        # loses the replies that came first.
        self._start = {where: admin.end_offsets([where])[where]}
        self._client_config = client_config
        self._thread = threading.Thread(target=self._run, name="eventsource client", daemon=True)
        self._serve: Callable[[], object] = lambda: None

    def start(self, serve: Callable[[], object]) -> None:
        """Begins to read replies; `serve` is called in every turn of the thread."""
        self._serve = serve
        self._thread.start()

    def fail(self, pending: Pending[Any], error: Exception) -> None:
        """Answers a request with an error."""
        if self.in_flight.leave(pending):
            pending.resolve(None, error)

    def close(self) -> None:
        """Stops reading; what is unanswered becomes `OutcomeUnknown`."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    # --- the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        reason = "this client is closed: connect again with app.connect()"
        try:
            with LogReader(self._client_config, committed_only=False) as reader:
                reader.assign(self._start)
                while not self._stop.is_set():
                    self._take(reader.read(_READ_RECORDS, _READ_SECONDS))
                    self._serve()
                    self._expire(self._clock.monotonic())
        except Exception as error:  # noqa: BLE001 - told to whoever uses the client next
            _log.error("client_stopped", error=str(error), kind=type(error).__name__)
            reason = f"this client has stopped ({error}): connect again with app.connect()"
        finally:
            self.in_flight.end(reason)
            self._expire(float("inf"))

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
            waiting.pending.resolve(None, waiting.pending.unanswered(waiting.timeout_seconds))


def _answer(waiting: Waiting, reply: Reply) -> None:
    try:
        waiting.answer(reply)
    except Exception as error:  # noqa: BLE001 - one unreadable answer must not keep the others waiting
        unreadable = DecodeError(
            f"the answer to command {reply.command_id} cannot be read ({type(error).__name__}: {error}): upgrade the client"
        )
        waiting.pending.resolve(None, unreadable)
