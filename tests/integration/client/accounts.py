"""Accounts, a worker in a thread, and what stands in their topics: what the tests of the client share."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Final, Self

from pydantic import Field

from eventsource.app import App
from eventsource.domain import Aggregate, Command, Event, Rejected, applies, creates, decides, invariant
from eventsource.log.header_reading import read_event_headers
from eventsource.log.recorded import time_from_ms
from eventsource.settings import Settings
from tests.integration.command_threads import WorkerThread, read_topic

Money = Annotated[Decimal, Field(max_digits=18, decimal_places=2)]
PARTITIONS: Final = 2


class Open(Command, name="open"):
    owner: str


class Deposit(Command, name="deposit"):
    amount: Money
    note: str = ""


class Opened(Event, name="opened"):
    owner: str


class Deposited(Event, name="deposited"):
    amount: Money
    note: str = ""


class Overdrawn(Rejected, code="overdrawn"):
    balance: Money


class Account(Aggregate, name="account"):
    owner: str
    balance: Money = Decimal("0.00")
    notes: list[str]

    @creates
    @classmethod
    def open(cls, command: Open) -> Opened:
        return Opened(owner=command.owner)

    @creates
    @classmethod
    def on_opened(cls, event: Opened) -> Self:
        return cls(owner=event.owner, notes=[])

    @decides
    def deposit(self, command: Deposit) -> Deposited:
        return Deposited(amount=command.amount, note=command.note)

    @applies
    def on_deposited(self, event: Deposited) -> None:
        if event.amount == 13:
            raise ZeroDivisionError("unlucky")
        self.balance += event.amount
        self.notes.append(event.note)

    @invariant
    def never_overdrawn(self) -> None:
        if self.balance < 0:
            raise Overdrawn(balance=self.balance)


APP = App("bank", aggregates=[Account], partitions=PARTITIONS)
ONE = Deposited(amount=Decimal("1.00"))


class Worker(WorkerThread):
    """A command worker of these accounts, in a thread of the test. It must not have failed by its end."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(APP, Account, settings)

    def stop(self) -> None:
        super().stop()
        assert self.failure is None


def event_times(settings: Settings, aggregate_id: str) -> list[datetime]:
    records = read_topic(settings, APP.names(settings.namespace).events("account"), PARTITIONS)
    return [
        time_from_ms(read_event_headers(record.headers).time_ms)
        for record in records
        if record.key == aggregate_id.encode()
    ]


def versions(settings: Settings) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for record in read_topic(settings, APP.names(settings.namespace).events("account"), PARTITIONS):
        found.setdefault(record.key.decode(), []).append(read_event_headers(record.headers).version)
    return found
