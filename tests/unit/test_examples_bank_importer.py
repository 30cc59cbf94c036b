"""Sending a history: what is sent again, what counts, and when it gives up. The client is a stand-in that answers at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from eventsource import AlreadyExists, Backlogged, CommandError, NotFound, OutcomeUnknown
from eventsource.clock import Clock
from eventsource.commands.client import Client
from eventsource.commands.pending import Pending
from eventsource.commands.receipt import Receipt
from eventsource.errors import BrokerUnavailable
from eventsource.log.token import Token
from eventsource.testing import VirtualClock
from examples.bank import Account, OpenAccount, RecordTransaction
from examples.bank.history import HistoryError, HistoryRow
from examples.bank.importer import Importer, ImportResult, ImportStopped, NoAnswers

SENT_AT = datetime(2001, 2, 3, tzinfo=UTC)


def row(transaction_id: int, account_id: str = "1") -> HistoryRow:
    amount = Decimal("900.00")
    return HistoryRow(
        transaction_id + 1, transaction_id, account_id, date(1993, 1, 1), "credit", "", "", amount, amount
    )


class HurryingClock(VirtualClock):
    """Moves on whenever it is asked, so that waiting ends."""

    def monotonic(self) -> float:
        self.advance(timedelta(milliseconds=500))
        return super().monotonic()


Answer = Callable[[str, int], Exception | None]


class StandIn:
    """Answers each command by `answer(command id, attempt)`: with that error, or a receipt for None. It keeps what was sent."""

    def __init__(self, answer: Answer = lambda _id, _attempt: None) -> None:
        self._answer = answer
        self.sent: list[tuple[str, str, datetime | None, object]] = []
        self.timeouts: list[float] = []
        self.silent = False

    def submit(
        self,
        _aggregate: type[Account],
        aggregate_id: str,
        command: object,
        *,
        command_id: str,
        sent_at: datetime | None,
        timeout: float,
        **_: Any,
    ) -> Pending:
        self.timeouts.append(timeout)
        attempt = sum(seen == command_id for _, seen, _, _ in self.sent) + 1
        answer = self._answer(command_id, attempt)
        if isinstance(answer, Backlogged | BrokerUnavailable):
            self.sent.append((aggregate_id, f"{command_id} (refused)", sent_at, command))
            raise answer
        self.sent.append((aggregate_id, command_id, sent_at, command))
        pending = Pending(command_id, aggregate_id, sent_at or SENT_AT)
        if not self.silent:
            place = len(self.sent)
            token = Token(b"t" * 16, place % 2, place, aggregate_id, place)
            pending.resolve(None if answer else Receipt(command_id, aggregate_id, place, token), answer)
        return pending

    @property
    def command_ids(self) -> list[str]:
        return [command_id for _, command_id, _, _ in self.sent]


def run(
    client: StandIn, rows: Iterator[HistoryRow] | list[HistoryRow], *, clock: Clock | None = None, **arguments: Any
) -> ImportResult:
    return Importer(cast("Client", client), clock=clock or HurryingClock(), **arguments).run(rows)


def test_each_account_is_opened_before_its_first_transaction_and_ids_make_command_ids() -> None:
    client = StandIn()
    result = run(client, [row(1), row(2, "2"), row(3)])
    assert client.command_ids == ["open-account-1", "transaction-1", "open-account-2", "transaction-2", "transaction-3"]
    assert [aggregate_id for aggregate_id, *_ in client.sent] == ["1", "1", "2", "2", "1"]
    assert client.sent[0][3] == OpenAccount()
    assert client.sent[1][3] == RecordTransaction(
        transaction_id=1,
        booked_on=date(1993, 1, 1),
        kind="credit",
        amount=Decimal("900.00"),
        recorded_balance=Decimal("900.00"),
    )
    assert (result.commands, result.accepted, result.rejected, len(result.rows)) == (5, 3, 0, 3)


def test_the_newest_token_of_each_partition_is_kept() -> None:
    assert {partition: token.offset for partition, token in run(StandIn(), [row(1), row(2)]).tokens.items()} == {
        0: 2,
        1: 3,
    }


def test_a_command_without_an_answer_is_sent_again_with_its_id_and_time() -> None:
    def answer(command_id: str, attempt: int) -> Exception | None:
        return OutcomeUnknown(command_id, SENT_AT, 1.0) if command_id == "transaction-1" and attempt < 3 else None

    client = StandIn(answer)
    result = run(client, [row(1), row(2)])
    assert [(seen, sent_at) for _, seen, sent_at, _ in client.sent if seen == "transaction-1"] == [
        ("transaction-1", None),
        ("transaction-1", SENT_AT),
        ("transaction-1", SENT_AT),
    ]
    assert (result.commands, result.accepted) == (3, 2)


def test_each_further_attempt_waits_twice_as_long_up_to_half_the_patience() -> None:
    client = StandIn(
        lambda command_id, attempt: (
            OutcomeUnknown(command_id, SENT_AT, 1.0) if command_id == "transaction-1" and attempt < 5 else None
        )
    )
    run(client, [row(1)], patience_seconds=60.0)
    assert client.timeouts == [10.0, 10.0, 20.0, 30.0, 30.0, 30.0]


def test_a_full_client_is_waited_for() -> None:
    full = iter([Backlogged(10_000), Backlogged(10_000)])
    client = StandIn(lambda command_id, _: next(full, None) if command_id == "transaction-1" else None)
    assert run(client, [row(1)]).accepted == 1
    assert client.command_ids == ["open-account-1", *["transaction-1 (refused)"] * 2, "transaction-1"]


def test_a_broker_that_takes_long_for_the_first_commands_schema_is_waited_for() -> None:
    slow = iter([BrokerUnavailable("not acknowledged within 5 s")] * 2)
    client = StandIn(lambda _id, _attempt: next(slow, None))
    assert run(client, [row(1)]).accepted == 1
    assert client.command_ids == [*["open-account-1 (refused)"] * 2, "open-account-1", "transaction-1"]


def test_a_broker_that_is_not_there_ends_the_import_with_its_own_words() -> None:
    client = StandIn(lambda _id, _attempt: BrokerUnavailable("not acknowledged within 5 s"))
    with pytest.raises(BrokerUnavailable, match="not acknowledged within 5 s"):
        run(client, [row(1)], patience_seconds=10.0)
    assert 2 < len(client.sent) < 20


def test_an_account_that_exists_already_is_no_obstacle() -> None:
    client = StandIn(lambda command_id, _: AlreadyExists("account", "1") if command_id.startswith("open") else None)
    result = run(client, [row(1)])
    assert (result.accepted, result.rejected, result.refusals) == (1, 0, [])


def test_a_rejected_transaction_is_counted_and_the_first_is_quoted() -> None:
    client = StandIn(
        lambda command_id, _: NotFound("account", "1") if command_id in ("transaction-2", "transaction-3") else None
    )
    result = run(client, [row(1), row(2), row(3)])
    assert (result.accepted, result.rejected) == (1, 2)
    assert result.refusals == [f"transaction-2 of account 1: {NotFound('account', '1')}"]


def test_a_mistake_in_the_file_ends_the_import_after_what_came_before_it_is_answered() -> None:
    def rows() -> Iterator[HistoryRow]:
        yield row(1)
        yield row(2)
        raise HistoryError(Path("a.csv"), "is wrong", line=4, column="amount")

    unanswered = iter([OutcomeUnknown("transaction-2", SENT_AT, 1.0)])
    client = StandIn(lambda command_id, _: next(unanswered, None) if command_id == "transaction-2" else None)
    with pytest.raises(ImportStopped) as caught:
        run(client, rows())
    assert str(caught.value).startswith(
        "a.csv, line 4, column amount: is wrong; the 2 transactions accepted before it stay"
    )
    assert client.command_ids.count("transaction-2") == 2


def test_silence_ends_the_import_with_what_to_do() -> None:
    client = StandIn()
    client.silent = True
    with pytest.raises(NoAnswers, match=r"no command was answered for 5 s, and 2 wait for it: see that a worker runs"):
        run(client, [row(1)], patience_seconds=5.0)


def test_a_command_that_is_never_answered_ends_the_import() -> None:
    client = StandIn(
        lambda command_id, _: OutcomeUnknown(command_id, SENT_AT, 1.0) if command_id == "transaction-2" else None
    )
    with pytest.raises(NoAnswers, match="and 1 wait for it"):
        run(client, [row(1), row(2), row(3)], patience_seconds=5.0)
    assert client.command_ids.count("transaction-2") > 2


def test_a_long_import_is_no_silence() -> None:
    rows = [row(number) for number in range(1, 100)]
    assert run(StandIn(), rows, patience_seconds=5.0).accepted == 99


def test_a_check_that_raises_ends_the_import() -> None:
    def check() -> None:
        raise CommandError("the worker is gone")

    client = StandIn()
    client.silent = True
    with pytest.raises(CommandError, match="the worker is gone"):
        run(client, [row(1)], check=check)
