"""Sending a history as commands: pipelined, in order, and under command ids that make a second import change nothing."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final, NamedTuple

from eventsource.clock import Clock
from eventsource.commands.client import Client
from eventsource.commands.pending import Pending
from eventsource.errors import AlreadyExists, Backlogged, BrokerUnavailable, EventSourceError, OutcomeUnknown, Retriable
from eventsource.log.token import Token
from examples.bank.domain import Account, OpenAccount, RecordTransaction
from examples.bank.history import HistoryError, HistoryRow

_NOT_SENT_WAIT_SECONDS: Final = 0.005
_ANSWER_WAIT_SECONDS: Final = 0.05
_LOOK_EVERY_SECONDS: Final = 0.1
_FIRST_ATTEMPT_SECONDS: Final = 10.0


class NoAnswers(Retriable):
    """Raised when no command was answered for a while. Start a worker, then import again: nothing is done twice."""


class ImportStopped(EventSourceError):
    """Raised when the history itself stopped the import. What was accepted before stays accepted; `__cause__` says where it broke."""

    def __init__(self, error: HistoryError, result: ImportResult) -> None:
        super().__init__(
            f"{error}; the {result.accepted:,} transactions accepted before it stay accepted: mend it and import again"
        )
        self.result = result


@dataclass(slots=True)
class ImportResult:
    """What became of an import. `seconds` goes from the first command that was sent to the last answer.

    `accepted` and `rejected` count transactions; `refusals` are what was said about the first of the rejected.
    """

    rows: list[HistoryRow] = field(default_factory=list)
    commands: int = 0
    accepted: int = 0
    rejected: int = 0
    refusals: list[str] = field(default_factory=list)
    seconds: float = 0.0
    tokens: dict[int, Token] = field(default_factory=dict)
    """The newest token of each partition."""


class _Sending(NamedTuple):
    account_id: str
    command_id: str
    command: OpenAccount | RecordTransaction


class Importer:
    """Sends the rows of a history to the accounts of a bank, many at a time and each account's in their order.

    `check` is called every now and then and may raise to stop the import. `progress` is told how many commands were sent and how
    many answered. Nothing being answered for `patience_seconds` ends it with `NoAnswers`.
    """

    def __init__(
        self,
        client: Client,
        *,
        clock: Clock,
        patience_seconds: float = 60.0,
        check: Callable[[], None] = lambda: None,
        progress: Callable[[int, int], None] = lambda _sent, _answered: None,
    ) -> None:
        self._client = client
        self._clock = clock
        self._patience_seconds = patience_seconds
        # Short enough to ask again before patience ends: a reply may be lost with the worker that was to send it. Each further
        # attempt waits twice as long, so that a slow worker is not buried in repetitions.
        self._longest_attempt_seconds = patience_seconds / 2
        self._first_attempt_seconds = min(_FIRST_ATTEMPT_SECONDS, self._longest_attempt_seconds)
        self._check = check
        self._progress = progress
        self._lock = threading.Lock()
        self._result = ImportResult()
        self._answered = 0
        self._unknown: deque[tuple[_Sending, datetime, float]] = deque()
        self._sent_at = self._answered_at = self._looked_at = 0.0

    def run(self, rows: Iterable[HistoryRow]) -> ImportResult:
        """Sends everything and waits for all answers.

        Raises `ImportStopped` at the first mistake in the history, once what was sent before it is answered; `NoAnswers`; what
        `check` raises; and the client's own errors.
        """
        result = self._result
        self._answered_at = self._clock.monotonic()
        mistake: HistoryError | None = None
        try:
            self._send_all(rows)
        except HistoryError as error:
            mistake = error
        while self._answered < result.commands:
            self._look()
            self._send_again()
            time.sleep(_ANSWER_WAIT_SECONDS if self._answered < result.commands else 0)
        result.seconds = max(0.0, self._answered_at - self._sent_at)
        self._progress(result.commands, self._answered)
        if mistake is not None:
            raise ImportStopped(mistake, result) from mistake
        return result

    def _send_all(self, rows: Iterable[HistoryRow]) -> None:
        opened: set[str] = set()
        for row in rows:
            if row.account_id not in opened:
                opened.add(row.account_id)
                self._send(_Sending(row.account_id, f"open-account-{row.account_id}", OpenAccount()))
            self._send(_Sending(row.account_id, f"transaction-{row.transaction_id}", _command(row)))
            self._result.rows.append(row)

    # --- one command ---------------------------------------------------------------------------------------------

    def _send(self, sending: _Sending) -> None:
        self._submit(sending, None, self._first_attempt_seconds)
        self._result.commands += 1
        now = self._clock.monotonic()
        if self._result.commands == 1:
            # Not before: the first command also has its schema put into the log.
            self._sent_at = now
        if now - self._looked_at >= _LOOK_EVERY_SECONDS:
            self._look()
            self._send_again()

    def _send_again(self) -> None:
        for _ in range(len(self._unknown)):
            sending, sent_at, waited_seconds = self._unknown.popleft()
            self._submit(sending, sent_at, min(2 * waited_seconds, self._longest_attempt_seconds))

    def _submit(self, sending: _Sending, sent_at: datetime | None, timeout_seconds: float) -> None:
        while True:
            try:
                pending = self._client.submit(
                    Account,
                    sending.account_id,
                    sending.command,
                    command_id=sending.command_id,
                    sent_at=sent_at,
                    timeout=timeout_seconds,
                    when_full="raise",
                )
            except (Backlogged, BrokerUnavailable) as not_sent:
                if isinstance(not_sent, BrokerUnavailable) and self._is_out_of_patience():
                    raise  # it says more than that nothing was answered
                self._look()
                time.sleep(_NOT_SENT_WAIT_SECONDS)
            else:
                pending.add_done_callback(partial(self._take, sending, timeout_seconds))
                return

    def _take(self, sending: _Sending, timeout_seconds: float, pending: Pending) -> None:
        # In the client's thread, or in the importer's when the answer was there at once.
        result = self._result
        with self._lock:
            try:
                receipt = pending.result()
            except OutcomeUnknown as unknown:
                self._unknown.append((sending, unknown.sent_at, timeout_seconds))
                return
            except AlreadyExists:
                pass  # opened in another way before: all the same to its history
            except EventSourceError as refusal:
                if isinstance(sending.command, RecordTransaction):
                    result.rejected += 1
                if not result.refusals:
                    result.refusals.append(f"{sending.command_id} of account {sending.account_id}: {refusal}")
            else:
                if isinstance(sending.command, RecordTransaction):
                    result.accepted += 1
                newest = result.tokens.get(receipt.token.partition)
                if newest is None or newest.offset < receipt.token.offset:
                    result.tokens[receipt.token.partition] = receipt.token
            self._answered += 1
            self._answered_at = self._clock.monotonic()

    def _look(self) -> None:
        self._looked_at = self._clock.monotonic()
        self._check()
        self._progress(self._result.commands, self._answered)
        if self._answered < self._result.commands and self._is_out_of_patience():
            raise NoAnswers(
                f"no command was answered for {self._patience_seconds:g} s, and {self._result.commands - self._answered:,} wait for it: "
                "see that a worker runs (`eventsource run examples.bank:bank`), then import again; nothing is done twice"
            )

    def _is_out_of_patience(self) -> bool:
        return self._clock.monotonic() - self._answered_at > self._patience_seconds


def _command(row: HistoryRow) -> RecordTransaction:
    return RecordTransaction(
        transaction_id=row.transaction_id,
        booked_on=row.booked_on,
        kind=row.kind,
        operation=row.operation,
        purpose=row.purpose,
        amount=row.amount,
        recorded_balance=row.balance,
    )
