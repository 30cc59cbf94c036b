"""A small bank for the fault tests: whole numbers of money, and what can go wrong with a command."""

from __future__ import annotations

from time import sleep
from typing import Annotated, Final, Self

from pydantic import Field

from eventsource.app import App
from eventsource.domain import Aggregate, Command, Event, Rejected, applies, creates, decides

PARTITIONS: Final = 2
Amount = Annotated[int, Field(gt=0)]


class Open(Command, name="open"):
    owner: str


class Deposit(Command, name="deposit"):
    amount: Amount


class Withdraw(Command, name="withdraw"):
    amount: Amount


class Save(Command, name="save"):
    """From the balance to the savings: two events, of which one alone would make money vanish."""

    amount: Amount


class Note(Command, name="note"):
    """As many notes as told, each of this text: for records that are too many or too large."""

    text: str
    times: int = 1


class Dawdle(Command, name="dawdle"):
    """An event that takes this long to be applied, now and in every replay."""

    seconds: float


class Opened(Event, name="opened"):
    owner: str


class Deposited(Event, name="deposited"):
    amount: int


class Withdrawn(Event, name="withdrawn"):
    amount: int


class SetAside(Event, name="set-aside"):
    amount: int


class Saved(Event, name="saved"):
    amount: int


class Noted(Event, name="noted"):
    text: str


class Dawdled(Event, name="dawdled"):
    seconds: float


class InsufficientFunds(Rejected, code="insufficient_funds"):
    available: int


class Account(Aggregate, name="account"):
    balance: int = 0
    savings: int = 0

    @creates
    @classmethod
    def open(cls, command: Open) -> Opened:
        return Opened(owner=command.owner)

    @creates
    @classmethod
    def on_opened(cls, event: Opened) -> Self:
        return cls()

    @decides
    def deposit(self, command: Deposit) -> Deposited:
        return Deposited(amount=command.amount)

    @decides
    def withdraw(self, command: Withdraw) -> Withdrawn:
        self._check(command.amount)
        return Withdrawn(amount=command.amount)

    @decides
    def save(self, command: Save) -> tuple[SetAside, Saved]:
        self._check(command.amount)
        return SetAside(amount=command.amount), Saved(amount=command.amount)

    @decides
    def note(self, command: Note) -> list[Noted]:
        return [Noted(text=command.text)] * command.times

    @decides
    def dawdle(self, command: Dawdle) -> Dawdled:
        return Dawdled(seconds=command.seconds)

    @applies
    def on_deposited(self, event: Deposited) -> None:
        self.balance += event.amount

    @applies
    def on_taken(self, event: Withdrawn | SetAside) -> None:
        self.balance -= event.amount

    @applies
    def on_saved(self, event: Saved) -> None:
        self.savings += event.amount

    @applies
    def on_noted(self, event: Noted) -> None:
        pass

    @applies
    def on_dawdled(self, event: Dawdled) -> None:
        sleep(event.seconds)

    def _check(self, amount: int) -> None:
        if amount > self.balance:
            raise InsufficientFunds(available=self.balance)


ledger = App("ledger", aggregates=[Account], partitions=PARTITIONS)
