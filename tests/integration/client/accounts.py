"""Accounts, a worker in a thread, and what stands in their topics: what the tests of the client share."""

from __future__ import annotations

import threading
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Final, Self

from pydantic import Field

from eventsource.app import App
from eventsource.clock import SystemClock
from eventsource.commands.worker import CommandWorker
from eventsource.consuming.definition import ConsumerContext
from eventsource.domain import Aggregate, Command, Event, Rejected, applies, creates, decides, invariant
from eventsource.log.admin import LogAdmin
from eventsource.log.headers import read_event_headers
from eventsource.log.reader import LogReader
from eventsource.log.record import Record
from eventsource.log.recorded import time_from_ms
from eventsource.schemas import KafkaSchemaStore
from eventsource.settings import Settings

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


class Worker:
    """A command worker in a thread of the test."""

    def __init__(self, settings: Settings) -> None:
        self._schemas = KafkaSchemaStore(APP.names(settings.namespace).schemas, settings.kafka.client_config())
        self.worker = CommandWorker(Account, ConsumerContext(APP, settings, self._schemas, SystemClock()))
        self._stop = threading.Event()
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.worker.run(self._stop)
        except BaseException as error:  # noqa: BLE001
            self.failure = error

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        self._schemas.close()
        assert self.failure is None


def read_topic(settings: Settings, topic: str) -> list[Record]:
    admin = LogAdmin(settings.kafka.client_config())
    ends = admin.end_offsets([(topic, number) for number in range(PARTITIONS)])
    records: list[Record] = []
    with LogReader(settings.kafka.client_config()) as reader:
        for where, end in ends.items():
            if end == 0:
                continue
            reader.assign({where: 0})
            while reader.position(*where) < end:
                records += reader.read(1_000, 0.1)
    return records


def event_times(settings: Settings, aggregate_id: str) -> list[datetime]:
    records = read_topic(settings, APP.names(settings.namespace).events("account"))
    return [
        time_from_ms(read_event_headers(record.headers).time_ms)
        for record in records
        if record.key == aggregate_id.encode()
    ]


def versions(settings: Settings) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for record in read_topic(settings, APP.names(settings.namespace).events("account")):
        found.setdefault(record.key.decode(), []).append(read_event_headers(record.headers).version)
    return found
