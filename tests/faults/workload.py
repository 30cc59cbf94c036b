"""Two clients that send commands all the time, and send again what got no answer, until everything is known."""

from __future__ import annotations

import random
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from types import TracebackType
from typing import Final, Self

from eventsource.commands.client import Client
from eventsource.commands.pending import Pending
from eventsource.domain import Command
from eventsource.errors import BrokerUnavailable, EventSourceError, HandlerFailed, OutcomeUnknown
from tests.faults.history import OK, UNKNOWN, History, Invocation, Result
from tests.faults.ledger import Account, Deposit, Open, Save, Withdraw

CLIENTS: Final = 2
_ATTEMPT_SECONDS: Final = 2.0
_IN_FLIGHT: Final = 6
_PAUSE_SECONDS: Final = 0.005
_PATIENCE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Sent:
    invocation: Invocation
    command: Command
    pending: Pending


class Workload:
    """Each client in a thread of its own; what it sends is drawn from `seed`. A context manager: leaving it settles everything."""

    def __init__(
        self,
        connect: Callable[[], Client],
        history: History,
        seed: int,
        *,
        accounts: Sequence[str],
    ) -> None:
        self._clients = [connect() for _ in range(CLIENTS)]
        self._history = history
        self._seed = seed
        self._accounts = accounts
        self._patience_seconds = _PATIENCE_SECONDS
        self._stop = threading.Event()
        self._go = threading.Event()
        self._go.set()
        self._settled = [threading.Event() for _ in range(CLIENTS)]
        self._failures: list[BaseException] = []
        self._lock = threading.Lock()
        self._answers: Counter[int] = Counter()
        self._threads = [
            threading.Thread(target=self._run, args=(number,), name=f"workload {number}") for number in range(CLIENTS)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._go.set()
        if kind is not None:
            self._patience_seconds = 0.0  # the test has failed already: nobody waits for answers
        for thread in self._threads:
            thread.join()
        for client in self._clients:
            client.close()
        if kind is None and self._failures:
            raise self._failures[0]

    def answered(self, partition: int | None = None) -> int:
        """How many OK answers came, from one partition or all."""
        with self._lock:
            return self._answers.total() if partition is None else self._answers[partition]

    def pause(self) -> None:
        """Sends no further commands, and waits until all that were sent are answered."""
        self._go.clear()
        for settled in self._settled:
            if not settled.wait(self._patience_seconds):
                self.check()
                raise AssertionError(f"not everything was answered in {self._patience_seconds:g} s")

    def resume(self) -> None:
        """Goes on after `pause`."""
        for settled in self._settled:
            settled.clear()
        self._go.set()

    def check(self) -> None:
        """Raises what a client's thread died of."""
        if self._failures:
            raise self._failures[0]

    # --- a client's thread -------------------------------------------------------------------------------------------

    def _run(self, client: int) -> None:
        try:
            self._send_until_stopped(client, random.Random(f"{self._seed}/{client}"))
        except BaseException as error:  # noqa: BLE001 - raised again in the test's own thread
            self._failures.append(error)

    def _send_until_stopped(self, client: int, rng: random.Random) -> None:
        in_flight: deque[_Sent] = deque()
        opened: set[str] = set()
        number = 0
        while not self._stop.is_set():
            number += 1
            account = rng.choice(self._accounts)
            command = self._draw(rng) if account in opened else Open(owner=f"client {client}")
            opened.add(account)
            kind, amount = command.message_name, getattr(command, "amount", 0)
            in_flight.append(self._send(Invocation(f"c{client}-{number}", 1, client, account, kind, amount), command))
            while len(in_flight) >= _IN_FLIGHT or (in_flight and not self._go.is_set()):
                self._await(in_flight.popleft(), rng)
            if not self._go.is_set():
                self._settled[client].set()
                self._go.wait()
            self._stop.wait(_PAUSE_SECONDS)
        while in_flight:
            self._await(in_flight.popleft(), rng)

    def _draw(self, rng: random.Random) -> Command:
        kind, amount = rng.choices((Deposit, Withdraw, Save), (5, 3, 3))[0], rng.randint(1, 100)
        return kind(amount=amount)

    def _send(self, invocation: Invocation, command: Command, before: Pending | None = None) -> _Sent:
        self._history.note(invocation)
        deadline = monotonic() + self._patience_seconds
        while True:
            try:
                pending = self._clients[invocation.client].submit(
                    Account,
                    invocation.aggregate_id,
                    command,
                    command_id=invocation.command_id,
                    sent_at=before.sent_at if before is not None else None,
                    timeout=_ATTEMPT_SECONDS,
                )
            except BrokerUnavailable:  # nothing was sent: the schema of a kind's first command could not be registered
                if monotonic() > deadline:
                    raise
            else:
                return _Sent(invocation, command, pending)

    def _await(self, sent: _Sent, rng: random.Random) -> None:
        deadline = monotonic() + self._patience_seconds
        while (result := self._result(sent)).status == UNKNOWN:
            if monotonic() > deadline:
                raise AssertionError(f"no answer to {sent.invocation} in {self._patience_seconds:g} s")
            # Under its own id, and through either client: what it was is known afterwards, and it has one effect.
            again = replace(sent.invocation, attempt=sent.invocation.attempt + 1, client=rng.randrange(CLIENTS))
            sent = self._send(again, sent.command, sent.pending)
        if result.status == OK:
            with self._lock:
                self._answers[result.partition] += 1

    def _result(self, sent: _Sent) -> Result:
        command_id, attempt = sent.invocation.command_id, sent.invocation.attempt
        try:
            receipt = sent.pending.result()
        except OutcomeUnknown:
            result = Result(command_id, attempt, UNKNOWN)
        except EventSourceError as error:
            status = error.error if isinstance(error, HandlerFailed) else type(error).__name__
            result = Result(command_id, attempt, status, text=str(error))
        else:
            token = receipt.token
            result = Result(command_id, attempt, OK, receipt.version, token.partition, token.offset)
        self._history.note(result)
        return result
