"""Proving an import: what the read models say, whether it fits the file, and whether a rebuild says the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import zip_longest
from typing import Any

from sqlalchemy import select

from eventsource.commands.client import Client
from examples.bank.domain import ZERO
from examples.bank.history import HistoryRow
from examples.bank.read_models import AccountBalance, Balances, Statement, StatementLine
from projections import ReadModel


@dataclass(frozen=True, slots=True)
class Build:
    """A copy of the rows of both read models, each in the order of its keys."""

    balances: Sequence[AccountBalance]
    statement: Sequence[StatementLine]

    @property
    def rows(self) -> int:
        """How many rows there are in both."""
        return len(self.balances) + len(self.statement)


@dataclass(frozen=True, slots=True)
class Figures:
    """What the read models say of some accounts. Drift is how far a balance lies from what the bank recorded, in crowns."""

    transactions: int
    accounts: int
    accounts_without_drift: int
    largest_drift: Decimal


def copy_build(client: Client) -> Build:
    """Copies both read models."""
    with client.read(Balances) as session:
        balances = session.scalars(select(AccountBalance).order_by(AccountBalance.account_id)).all()
        session.expunge_all()
    with client.read(Statement) as session:
        by_key = (StatementLine.account_id, StatementLine.line)
        statement = session.scalars(select(StatementLine).order_by(*by_key)).all()
        session.expunge_all()
    return Build(balances, statement)


def figures(build: Build, accounts: Iterable[str]) -> Figures:
    """The figures of these accounts: from each one's own row, and from its statement where lines are counted."""
    wanted = set(accounts)
    balances = [row for row in build.balances if row.account_id in wanted]
    return Figures(
        transactions=sum(line.transaction_id is not None and line.account_id in wanted for line in build.statement),
        accounts=len(balances),
        accounts_without_drift=sum(row.drift == 0 for row in balances),
        largest_drift=max((row.largest_drift for row in balances), default=ZERO),
    )


def contradictions(build: Build, rows: Iterable[HistoryRow]) -> Iterator[str]:
    """Where the read models contradict each other or the file, as sentences; none where all agrees.

    Every transaction of the file must stand in its account's statement as it was written, each account's in the file's order; and
    each balance must be the sum of its statement, with the same drift.
    """
    statements: dict[str, list[StatementLine]] = {}
    for line in build.statement:
        statements.setdefault(line.account_id, []).append(line)
    yield from _against_each_other(build, statements)
    yield from _against_file(statements, rows)


def _against_each_other(build: Build, statements: dict[str, list[StatementLine]]) -> Iterator[str]:
    balances = {row.account_id: row for row in build.balances}
    for account_id in statements.keys() - balances.keys():
        yield f"account {account_id} has a statement and no balance"
    for row in build.balances:
        lines = statements.get(row.account_id, [])
        total, drift, largest = ZERO, ZERO, ZERO
        for line in lines:
            total += line.change
            if line.recorded_balance is not None:
                drift = abs(total - line.recorded_balance)
                largest = max(largest, drift)
        wanted = (len(lines), total, drift, largest)
        found = (row.transactions, row.balance, row.drift, row.largest_drift)
        if found != wanted:
            yield (
                f"account {row.account_id}: its balance shows (transactions, balance, drift, largest drift) {_shown(found)}, its statement "
                f"adds up to {_shown(wanted)}"
            )


def _against_file(statements: dict[str, list[StatementLine]], rows: Iterable[HistoryRow]) -> Iterator[str]:
    lines = {(account_id, line.transaction_id): line for account_id, found in statements.items() for line in found}
    newest: dict[str, int] = {}
    for row in rows:
        line = lines.get((row.account_id, row.transaction_id))
        where = f"line {row.line}: transaction {row.transaction_id} of account {row.account_id}"
        if line is None:
            yield f"{where} is not in the statement"
            continue
        wanted = (row.booked_on, row.kind, row.operation, row.purpose, row.change, row.balance)
        found = (line.booked_on, line.kind, line.operation, line.purpose, line.change, line.recorded_balance)
        if found != wanted:
            yield f"{where} is {_shown(wanted)} in the file and {_shown(found)} in the statement"
        if line.line <= newest.get(row.account_id, 0):
            yield f"{where} stands before the one that it follows in the file"
        newest[row.account_id] = line.line


def differences(before: Build, after: Build) -> Iterator[str]:
    """Where two builds differ, row by row, as sentences; none where they are identical."""
    yield from _differing_rows(before.balances, after.balances)
    yield from _differing_rows(before.statement, after.statement)


def _differing_rows(before: Sequence[ReadModel], after: Sequence[ReadModel]) -> Iterator[str]:
    for number, (old, new) in enumerate(zip_longest(before, after), 1):
        if old != new:
            yield f"row {number}: before the rebuild {old!r}, after it {new!r}"


def _shown(values: Sequence[Any]) -> str:
    return f"({', '.join(str(value) for value in values)})"
