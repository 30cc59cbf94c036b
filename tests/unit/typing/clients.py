"""What users do with a client. A type checker must refuse each line that ends in `# wrong`, and no other."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import assert_type

from account import Account, AccountOpened, Deposit, Deposited, OpenAccount, Plain

from eventsource import Client, Event, Loaded, Pending, Receipt, Token
from eventsource.testing import TestApp


def sending(client: Client) -> None:
    assert_type(client.send(Account, "acc-1", Deposit(amount=Decimal(1)), expected_version=3), Receipt)
    pending = client.submit(Account, "acc-1", Deposit(amount=Decimal(1)))
    assert_type(pending, Pending[Receipt])
    assert_type(pending.result(), Receipt)
    client.send(Account, "acc-1", Deposited(amount=Decimal(1)))  # wrong
    plain: Pending = pending
    assert_type(plain.result(), Receipt)


def appending(client: Client, decided: Sequence[Event]) -> None:
    assert_type(client.append(Account, "acc-1", [AccountOpened(owner="Ada")], expected_version=0), Receipt)
    client.append(Account, "acc-1", decided, expected_version=3, command_id="a-1", sent_at=datetime.now(UTC))
    client.append(Account, "acc-1", decided)  # wrong
    client.append(Account, "acc-1", decided, 3)  # wrong
    client.append(Account, "acc-1", decided, expected_version=None)  # wrong
    client.append(Account, "acc-1", [OpenAccount(owner="Ada")], expected_version=0)  # wrong
    client.append(Account, "acc-1", AccountOpened(owner="Ada"), expected_version=0)  # wrong
    pending = client.submit_append(Account, "acc-1", decided, expected_version=3, when_full="raise")
    assert_type(pending, Pending[Receipt])
    client.submit_append(Account, "acc-1", decided, expected_version=3, when_full="drop")  # wrong


def wait(pending: Pending) -> Receipt:
    return pending.result()


def loading(client: Client) -> None:
    loaded = client.load(Account, "acc-1")
    assert_type(loaded, Loaded[Account])
    assert_type(loaded.state, Account)
    assert_type(loaded.state.balance, Decimal)
    assert_type(loaded.version, int)
    assert_type(loaded.token, Token)
    loaded.version = 4  # wrong
    print(loaded.state.colour)  # wrong
    assert_type(client.load(Plain, "p-1", at_version=3).state, Plain)
    assert_type(client.load(Account, "acc-1", at_time=datetime.now(UTC)).state, Account)
    client.load(Account, "acc-1", at_time="yesterday")  # wrong
    client.load(Deposit, "acc-1")  # wrong
    assert_type(client.submit_load(Account, "acc-1"), Pending[Loaded[Account]])
    wait(client.submit_load(Account, "acc-1"))  # wrong


async def awaiting(client: Client) -> None:
    async with client:
        assert_type(await client.submit(Account, "acc-1", Deposit(amount=Decimal(1))), Receipt)
        assert_type(await client.submit_append(Account, "acc-1", [], expected_version=0), Receipt)
        assert_type((await client.submit_load(Account, "acc-1")).state, Account)


def testing(app: TestApp) -> None:
    assert_type(app.append(Account, "acc-1", [AccountOpened(owner="Ada")], expected_version=0), Receipt)
    assert_type(app.load(Account, "acc-1").state, Account)
    assert_type(app.load(Account, "acc-1", at_version=1).state.balance, Decimal)
    app.append(Account, "acc-1", [AccountOpened(owner="Ada")])  # wrong


def handing_on(loaded: Loaded[Account], pending: Pending[Loaded[Account]]) -> Loaded[Account]:
    def told(done: Pending[Loaded[Account]]) -> None:
        assert_type(done.result().state, Account)

    pending.add_done_callback(told)
    return loaded


def binding(client: Client, app: TestApp) -> None:
    view = client.bound(actor="ada", timeout=3, metadata={"tenant": "t-1"})
    assert_type(view, Client)
    assert_type(view.send(Account, "acc-1", Deposit(amount=Decimal(1))), Receipt)
    assert_type(view.bound(correlation_id="c-1"), Client)
    client.bound("ada")  # wrong
    client.bound(metadata={"tenant": 1})  # wrong
    assert_type(app.bound(actor="ada"), TestApp)


async def binding_in_a_coroutine(client: Client) -> None:
    assert_type(await client.bound(actor="ada").submit(Account, "acc-1", Deposit(amount=Decimal(1))), Receipt)
