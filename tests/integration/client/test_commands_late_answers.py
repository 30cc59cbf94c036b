"""Answers that come after their request was given up, when its id is in use again."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from eventsource.commands.client import Client
from eventsource.errors import CommandIdReused, OutcomeUnknown
from eventsource.log.topics import apply
from eventsource.settings import Settings
from tests.integration.client.accounts import APP, Account, Deposit, Open, Worker


def given_up(client: Client, aggregate_id: str, command: Open | Deposit) -> None:
    client.submit(Account, "acc-2", command)  # registers the schema, however long that takes
    with pytest.raises(OutcomeUnknown):
        client.send(Account, aggregate_id, command, command_id="x", timeout=5)


@pytest.mark.parametrize("second", ["acc-1", "acc-3"])  # both in one partition, in which ids are known
def test_a_late_answer_is_not_taken_for_that_to_another_command_under_its_id(
    settings: Settings, start_worker: Callable[[], Worker], second: str
) -> None:
    apply(APP, settings)
    with APP.connect(settings) as client:
        given_up(client, "acc-1", Open(owner="Ada"))
        other = client.submit(Account, second, Deposit(amount=Decimal(1)), command_id="x", timeout=60)
        start_worker()
        with pytest.raises(CommandIdReused):
            other.result()
        assert client.load(Account, "acc-1").version == 1


def test_a_late_refusal_of_a_used_id_is_not_taken_for_the_answer_to_its_first_command(
    settings: Settings, start_worker: Callable[[], Worker]
) -> None:
    apply(APP, settings)
    with APP.connect(settings) as elsewhere, APP.connect(settings) as client:
        first = elsewhere.submit(Account, "acc-1", Open(owner="Ada"), command_id="x", timeout=60)
        given_up(client, "acc-1", Deposit(amount=Decimal(1)))
        again = client.submit(Account, "acc-1", Open(owner="Ada"), command_id="x", sent_at=first.sent_at, timeout=60)
        start_worker()
        assert again.result().version == first.result().version == 1
