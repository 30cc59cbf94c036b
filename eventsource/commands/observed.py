"""One request as traces and metrics show it: from sending it to its answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from opentelemetry.trace import INVALID_SPAN, Span

from eventsource.clock import Clock
from eventsource.commands.pending import Pending
from eventsource.commands.reply import Reply
from eventsource.commands.status import Status
from eventsource.telemetry import ClientTelemetry

UNANSWERED: Final = "unanswered"
NOT_SENT: Final = "not_sent"
_ERRORS: Final = frozenset({UNANSWERED, NOT_SENT, Status.FAILED.name.lower()})


class ObservedRequest:
    """Takes the place of a request's `answer`, and notes the outcome on the way."""

    __slots__ = ("_aggregate", "_answer", "_began", "_clock", "_span", "_telemetry", "outcome")

    def __init__(
        self, telemetry: ClientTelemetry, clock: Clock, aggregate: str, answer: Callable[[Reply], object]
    ) -> None:
        self.outcome = UNANSWERED
        self._telemetry = telemetry
        self._clock = clock
        self._aggregate = aggregate
        self._answer = answer
        self._began = clock.monotonic()
        self._span: Span = INVALID_SPAN

    def begin(self, pending: Pending[Any], command: str) -> bytes | None:
        """Begins the span, which ends with `pending`. Returns the `traceparent` that is to travel along."""
        self._span, traceparent = self._telemetry.sending(self._aggregate, command, pending.command_id)
        pending.add_done_callback(self._end)
        return traceparent

    def __call__(self, reply: Reply) -> None:
        self.outcome = reply.status.name.lower()
        self._answer(reply)

    def _end(self, _: Pending[Any]) -> None:
        seconds = self._clock.monotonic() - self._began
        failed = self.outcome in _ERRORS
        self._telemetry.answered(self._span, self._aggregate, self.outcome, seconds, failed)
