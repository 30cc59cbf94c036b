"""The domain job of the benchmarks: an account that adds up integer cents. Three fields a message, as small as real ones get."""

from __future__ import annotations

from typing import Final, Self

from eventsource import Aggregate, App, Command, Event, applies, creates, decides
from eventsource.names import Names

PARTITIONS: Final = 4
RUN_MARK: Final = "-run-"


class OpenAccount(Command, name="open-account"):
    account_id: str
    amount: int
    ref: str


class Deposit(Command, name="deposit"):
    account_id: str
    amount: int
    ref: str


class AccountOpened(Event, name="account-opened"):
    account_id: str
    amount: int
    ref: str


class Deposited(Event, name="deposited"):
    account_id: str
    amount: int
    ref: str


class Account(Aggregate[OpenAccount | Deposit], name="account"):
    """An account and what stands on it, in cents."""

    balance: int = 0

    @creates
    @classmethod
    def open(cls, command: OpenAccount) -> AccountOpened:
        return AccountOpened(account_id=command.account_id, amount=command.amount, ref=command.ref)

    @creates
    @classmethod
    def on_opened(cls, event: AccountOpened) -> Self:
        return cls(balance=event.amount)

    @decides
    def deposit(self, command: Deposit) -> Deposited:
        return Deposited(account_id=command.account_id, amount=command.amount, ref=command.ref)

    @applies
    def on_deposited(self, event: Deposited) -> None:
        self.balance += event.amount


class _RunNames(Names):
    """Names whose commands topic is that of the namespace before `-run-`: many runs read one backlog."""

    def commands(self, aggregate: str) -> str:
        return Names(self.app, self.namespace.partition(RUN_MARK)[0]).commands(aggregate)


class _App(App):
    def names(self, namespace: str = "") -> Names:
        return _RunNames(self.name, namespace)


# In a namespace `x-run-1` it reads the commands of namespace `x` and writes everything else under its own, so that a backlog
# is handled again and again by owners that know nothing of each other. In other namespaces it is an app like any other.
bench: Final = _App("bench", aggregates=[Account], partitions=PARTITIONS, remember_commands_forever=[Account])

# One partition, so that one owner has all there is, and another one nothing.
solo: Final = App("solo", aggregates=[Account], partitions=1, remember_commands_forever=[Account])

APPS: Final = {app.name: app for app in (bench, solo)}
