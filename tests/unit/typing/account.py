"""The account of the guide, as users write it. No line of it may be an error."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Self

from pydantic import Field

from eventsource.domain import Aggregate, Command, Context, Event, Rejected, applies, creates, decides, invariant

Money = Annotated[Decimal, Field(gt=0, max_digits=18, decimal_places=2)]


class OpenAccount(Command, name="open-account"):
    owner: str


class Deposit(Command, name="deposit"):
    amount: Money


class Withdraw(Command, name="withdraw"):
    amount: Money


class AccountOpened(Event, name="account-opened"):
    owner: str


class Deposited(Event, name="deposited", revision=1, aliases=("money-deposited",)):
    amount: Money


class Withdrawn(Event, name="withdrawn"):
    amount: Money


class InsufficientFunds(Rejected, code="insufficient_funds"):
    available: Decimal


AccountCommand = OpenAccount | Deposit | Withdraw


class Account(Aggregate[AccountCommand], name="account"):
    owner: str
    balance: Decimal = Decimal("0.00")

    @creates
    @classmethod
    def open(cls, command: OpenAccount) -> AccountOpened:
        return AccountOpened(owner=command.owner)

    @creates
    @classmethod
    def on_opened(cls, event: AccountOpened) -> Self:
        return cls(owner=event.owner)

    @decides
    def deposit(self, command: Deposit) -> Deposited:
        return Deposited(amount=command.amount)

    @applies
    def on_deposited(self, event: Deposited) -> None:
        self.balance += event.amount

    @decides
    def withdraw(self, command: Withdraw, context: Context) -> Withdrawn:
        if command.amount > self.balance and context.actor != "the bank":
            raise InsufficientFunds(available=self.balance)
        return Withdrawn(amount=command.amount)

    @applies
    def on_withdrawn(self, event: Withdrawn) -> None:
        self.balance -= event.amount

    @invariant
    def never_far_below_zero(self) -> bool:
        return self.balance > -1_000_000


class Written(Aggregate[Deposit | Withdraw], name="written"):
    """The same by hand."""

    balance: Decimal = Decimal("0.00")

    @creates
    @classmethod
    def on_opened(cls, event: AccountOpened) -> Self:
        return cls()

    def decide(self, command: Deposit | Withdraw) -> Deposited | Withdrawn | None:
        match command:
            case Deposit(amount=amount):
                return Deposited(amount=amount)
            case Withdraw(amount=amount):
                return Withdrawn(amount=amount)

    def evolve(self, event: Deposited | Withdrawn) -> None:
        match event:
            case Deposited(amount=amount):
                self.balance += amount
            case Withdrawn(amount=amount):
                self.balance -= amount


class Plain(Aggregate, name="plain"):
    """Does not name its commands."""

    @creates
    @classmethod
    def on_opened(cls, event: AccountOpened) -> Self:
        return cls()

    @decides
    def deposit(self, command: Deposit) -> None: ...
