"""A bank: real transactions through a real Kafka, into read models that can be thrown away and replayed."""

from examples.bank.app import bank
from examples.bank.domain import (
    Account,
    AccountOpened,
    Deposit,
    Deposited,
    InsufficientFunds,
    Money,
    OpenAccount,
    RecordTransaction,
    TransactionRecorded,
    Withdraw,
    Withdrawn,
)
from examples.bank.read_models import AccountBalance, Balances, Statement, StatementLine

__all__ = [
    "Account",
    "AccountBalance",
    "AccountOpened",
    "Balances",
    "Deposit",
    "Deposited",
    "InsufficientFunds",
    "Money",
    "OpenAccount",
    "RecordTransaction",
    "Statement",
    "StatementLine",
    "TransactionRecorded",
    "Withdraw",
    "Withdrawn",
    "bank",
]
