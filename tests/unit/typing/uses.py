"""What users do with an account. A type checker must refuse each line that ends in `# wrong`, and no other.

Of pydantic's models, only pyright sees wrong types of arguments (mypy's plugin has `init_typed` for it), and only mypy
sees that they are frozen.
"""

from __future__ import annotations

from decimal import Decimal
from typing import assert_type
from uuid import UUID

from account import (
    Account,
    AccountOpened,
    Deposit,
    Deposited,
    InsufficientFunds,
    OpenAccount,
    Plain,
    Withdraw,
    Withdrawn,
    Written,
)
from typing_extensions import TypeVar

from eventsource.domain import Aggregate, Command, Context, IdForm
from eventsource.testing import given

C = TypeVar("C", bound=Command, default=Command)


class Freeze(Command, name="freeze"):
    reason: str


def send(aggregate: type[Aggregate[C]], id: str, command: C) -> None: ...


def commands_belong_to_their_aggregate() -> None:
    send(Account, "acc-1", OpenAccount(owner="Ada"))
    send(Account, "acc-1", Deposit(amount=Decimal("5.00")))
    send(Account, "acc-1", Freeze(reason="x"))  # wrong
    send(Account, "acc-1", Deposited(amount=Decimal("5.00")))  # wrong
    send(Written, "acc-1", Withdraw(amount=Decimal("5.00")))
    send(Written, "acc-1", OpenAccount(owner="Ada"))  # wrong
    send(Plain, "acc-1", Deposit(amount=Decimal("5.00")))
    send(Plain, "acc-1", Freeze(reason="x"))


def handlers_keep_their_types(context: Context) -> None:
    account = Account.on_opened(Account.open(OpenAccount(owner="Ada")))
    assert_type(account, Account)
    assert_type(account.deposit(Deposit(amount=Decimal(1))), Deposited)
    assert_type(account.withdraw(Withdraw(amount=Decimal(1)), context), Withdrawn)
    account.deposit(Withdraw(amount=Decimal(1)))  # wrong
    account.withdraw(Withdraw(amount=Decimal(1)))  # wrong
    account.on_deposited(Withdrawn(amount=Decimal(1)))  # wrong
    account.open(Deposit(amount=Decimal(1)))  # wrong
    assert_type(account.never_far_below_zero(), bool)


def fields_are_parameters() -> None:
    assert_type(Account(owner="Ada").balance, Decimal)
    Account(owner="Ada", balance=Decimal(1))
    Account(owner=7)  # wrong
    Account()  # wrong
    Account("Ada")  # wrong
    Account(owner="Ada", colour="red")  # wrong
    assert_type(Deposit(amount=Decimal(1)).amount, Decimal)
    Deposit()  # wrong
    Deposit(amount="much")  # wrong for pyright
    Deposit(amount=Decimal(1), currency="EUR")  # wrong
    AccountOpened(owner="Ada").owner = "Bob"  # wrong for mypy


def rejections_are_typed() -> None:
    rejected = InsufficientFunds(available=Decimal(1))
    assert_type(rejected.available, Decimal)
    assert_type(rejected.code, str)
    InsufficientFunds()  # wrong
    InsufficientFunds(available="much")  # wrong
    InsufficientFunds(Decimal(1))  # wrong


def scenarios_are_typed() -> None:
    story = given(Account, AccountOpened(owner="Ada"))
    story.when(Withdraw(amount=Decimal(9))).then_rejected(InsufficientFunds, available=Decimal(0))
    story.then_state(lambda account: account.balance == 0)
    story.then_state(lambda account: account.colour == "red")  # wrong
    story.when(AccountOpened(owner="Ada"))  # wrong
    story.when(Deposit(amount=Decimal(9))).then(Deposit(amount=Decimal(9)))  # wrong
    story.when(Deposit(amount=Decimal(9))).then_rejected(ValueError)  # wrong


def class_arguments_are_typed() -> None:
    class Robot(Aggregate, name=7):  # wrong
        pass

    class Numbered(Aggregate, name="numbered", ids=int):
        pass

    class Known(Aggregate, name="known", ids=UUID):
        pass

    class Coded(Aggregate, name="coded", ids=IdForm(pattern="[a-z]+", max_length=3)):
        pass

    class Weighed(Aggregate, name="weighed", ids=3.0):  # wrong
        pass
