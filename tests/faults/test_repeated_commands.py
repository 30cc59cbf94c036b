"""The same command id again and again: through two clients, across the deaths of owners, and at the edge of the window."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from eventsource.commands.client import Client
from eventsource.commands.receipt import Receipt
from eventsource.errors import Expired
from eventsource.settings import Settings
from tests.faults.ledger import Account, Deposit, InsufficientFunds, Open, Withdraw
from tests.faults.rig import Rig

pytestmark = pytest.mark.faults

OWNERS = 3
EACH = 9  # times that each of two clients sends the command to each owner: more than fifty in all
WINDOW = timedelta(seconds=20)


@pytest.fixture
def fault_settings(fault_settings: Settings) -> Settings:
    hours = WINDOW / timedelta(hours=1)
    worker = fault_settings.worker.model_copy(update={"deduplication_window_hours": hours})
    return fault_settings.model_copy(update={"worker": worker})


def deposit_once(client: Client, sent_at: datetime) -> Receipt:
    return client.send(Account, "a0", Deposit(amount=10), command_id="once", sent_at=sent_at)


def withdraw_too_much_once(client: Client) -> int:
    with pytest.raises(InsufficientFunds) as rejected:
        client.send(Account, "a0", Withdraw(amount=100), command_id="too-much")
    return rejected.value.available


def test_a_command_sent_fifty_times_through_two_clients_and_three_owners_takes_effect_once(rig: Rig) -> None:
    sent_at = datetime.now(UTC)
    owner = rig.start_ready()
    with rig.connect() as one, rig.connect() as two, ThreadPoolExecutor(2) as both:
        one.send(Account, "a0", Open(owner="client"))
        receipts: list[Receipt] = []
        available: set[int] = set()
        for part in range(OWNERS):
            # A client answers whoever sends what is on its way already by itself: each waits for its own answer.
            for found in both.map(lambda client: [deposit_once(client, sent_at) for _ in range(EACH)], (one, two)):
                receipts += found
            available.update(both.map(withdraw_too_much_once, (one, two)))
            one.send(Account, "a0", Deposit(amount=1))  # what is answered stays as it was
            if part < OWNERS - 1:
                owner.send(signal.SIGKILL)
                owner.wait()
                owner = rig.start(own_store=part == 1)
        again = deposit_once(two, sent_at)
    assert set(receipts) == {again}
    assert again.version == 2
    assert available == {10}
    rig.check()
    evidence = rig.evidence.read()
    assert sum(command.command_id == "once" for command in evidence.commands) > 50
    assert sum(event.command_id == "once" for event in evidence.events) == 1


def test_at_the_edge_of_the_window_a_command_is_executed_once_or_never(rig: Rig) -> None:
    owner = rig.start_ready()
    just_inside = datetime.now(UTC) - WINDOW + timedelta(seconds=5)
    just_outside = datetime.now(UTC) - WINDOW - timedelta(seconds=1)
    with rig.connect() as one, rig.connect() as two:
        one.send(Account, "a0", Open(owner="client"))
        first = deposit_once(one, just_inside)
        for client in (one, two):
            expired(client, just_outside)
        rig.until(lambda: datetime.now(UTC) > just_inside + WINDOW, "the window to pass")
        assert deposit_once(two, just_inside) == first  # known, and so answered: the window is for what is not
        owner.send(signal.SIGKILL)
        owner.wait()
        rig.start(own_store=True)
        assert deposit_once(one, just_inside) == first
        for client in (one, two):
            expired(client, just_outside)
    rig.check()
    events = rig.evidence.read().events
    assert [event.command_id for event in events].count("once") == 1
    assert not any(event.command_id == "late" for event in events)


def expired(client: Client, sent_at: datetime) -> None:
    with pytest.raises(Expired):
        client.send(Account, "a0", Deposit(amount=1_000), command_id="late", sent_at=sent_at)
