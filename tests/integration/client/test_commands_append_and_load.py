"""Expected versions, appends and loads on a real broker."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any, Self

import pytest

from eventsource.app import App
from eventsource.commands.client import Client
from eventsource.domain import Aggregate, creates
from eventsource.errors import (
    AlreadyExists,
    CommandIdReused,
    DecodeError,
    HandlerFailed,
    LoadUnanswered,
    NotFound,
    OutcomeUnknown,
    VersionConflict,
)
from eventsource.log.header_reading import read_event_headers
from eventsource.log.partitioner import partition_for
from eventsource.settings import Settings
from tests.integration.client.accounts import (
    APP,
    ONE,
    PARTITIONS,
    Account,
    Deposit,
    Deposited,
    Money,
    Open,
    Opened,
    Overdrawn,
    Worker,
    versions,
)
from tests.integration.command_threads import read_topic

# --- expected versions ---------------------------------------------------------------------------------------------


def test_of_many_sends_that_expect_one_version_one_wins(settings: Settings, start_worker: Callable[[], Worker]) -> None:
    with APP.connect(settings) as client:
        opened = client.submit(Account, "acc-1", Open(owner="Ada"))
        # All are there before the worker is: one batch.
        pendings = [client.submit(Account, "acc-1", Deposit(amount=Decimal(1)), expected_version=1) for _ in range(50)]
        start_worker()
        assert opened.result().version == 1
        won, lost = 0, []
        for pending in pendings:
            try:
                assert pending.result().version == 2
                won += 1
            except VersionConflict as conflict:
                lost.append((conflict.expected, conflict.actual))
        assert (won, lost) == (1, [(1, 2)] * 49)
    assert versions(settings) == {"acc-1": [1, 2]}


def test_deciding_at_the_client_loses_no_update(client: Client, settings: Settings) -> None:
    client.append(Account, "acc-1", [Opened(owner="Ada")], expected_version=0)
    retried: list[bool] = []

    def add_one(number: int) -> int:
        while True:
            loaded = client.load(Account, "acc-1")
            event = Deposited(amount=Decimal(1), note=str(loaded.state.balance))
            try:
                return client.append(Account, "acc-1", [event], expected_version=loaded.version).version
            except VersionConflict as conflict:
                retried.append(conflict.actual > loaded.version)

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(add_one, range(24))) == list(range(2, 26))
    state = client.load(Account, "acc-1").state
    assert state.balance == 24
    assert [Decimal(note) for note in state.notes] == list(range(24))
    assert all(retried)


# --- append ----------------------------------------------------------------------------------------------------------


def test_an_append_is_all_or_nothing_and_has_its_version(client: Client, settings: Settings) -> None:
    receipt = client.append(Account, "acc-1", [Opened(owner="Ada"), ONE, ONE], expected_version=0, actor="ada")
    assert receipt.version == 3
    for expected in (0, 2, 4):
        with pytest.raises(VersionConflict) as conflict:
            client.append(Account, "acc-1", [ONE], expected_version=expected)
        assert (conflict.value.expected, conflict.value.actual) == (expected, 3)
    with pytest.raises(Overdrawn) as overdrawn:
        client.append(Account, "acc-1", [ONE, Deposited(amount=Decimal(-9))], expected_version=3)
    assert overdrawn.value.balance == -6
    with pytest.raises(HandlerFailed, match="ZeroDivisionError: unlucky"):
        client.append(Account, "acc-1", [ONE, Deposited(amount=Decimal(13))], expected_version=3)
    with pytest.raises(HandlerFailed, match="before it existed"):
        client.append(Account, "acc-2", [ONE], expected_version=0)
    assert client.load(Account, "acc-1").version == 3
    assert versions(settings) == {"acc-1": [1, 2, 3]}
    records = read_topic(settings, APP.names(settings.namespace).events("account"), PARTITIONS)
    headers = [read_event_headers(record.headers) for record in records]
    assert [(each.command_id, each.index, each.count) for each in headers] == [
        (receipt.command_id, index, 3) for index in (1, 2, 3)
    ]
    assert {each.trail.actor for each in headers} == {"ada"}


def test_appends_and_commands_meet_the_same_versions(client: Client) -> None:
    client.append(Account, "acc-1", [Opened(owner="Ada")], expected_version=0)
    with pytest.raises(AlreadyExists):
        client.send(Account, "acc-1", Open(owner="Eve"))
    assert client.send(Account, "acc-1", Deposit(amount=Decimal(1)), expected_version=1).version == 2
    assert client.append(Account, "acc-1", [ONE], expected_version=2).version == 3
    with pytest.raises(VersionConflict):
        client.send(Account, "acc-1", Deposit(amount=Decimal(1)), expected_version=2)


def test_an_append_takes_effect_once_whoever_sends_it_again(
    client: Client, settings: Settings, start_worker: Callable[[], Worker], worker: Worker
) -> None:
    first = client.append(Account, "acc-1", [Opened(owner="Ada")], expected_version=0, command_id="a-1")
    assert client.append(Account, "acc-1", [Opened(owner="Ada")], expected_version=0, command_id="a-1") == first
    with pytest.raises(CommandIdReused):
        client.append(Account, "acc-1", [Opened(owner="Eve")], expected_version=0, command_id="a-1")
    worker.stop()
    with pytest.raises(OutcomeUnknown) as unknown:
        client.append(Account, "acc-1", [ONE], expected_version=1, timeout=0.2)
    start_worker()
    id_, sent_at = unknown.value.command_id, unknown.value.sent_at
    again = client.append(Account, "acc-1", [ONE], expected_version=1, command_id=id_, sent_at=sent_at)
    assert again.version == 2
    assert client.append(Account, "acc-1", [Opened(owner="Ada")], expected_version=0, command_id="a-1") == first
    assert versions(settings) == {"acc-1": [1, 2]}


def test_of_threads_that_append_under_one_id_at_once_one_sends(
    settings: Settings, start_worker: Callable[[], Worker]
) -> None:
    with APP.connect(settings) as client:
        barrier = threading.Barrier(6)

        def append(_: int) -> Any:
            barrier.wait()
            return client.submit_append(Account, "acc-1", [Opened(owner="Ada")], expected_version=0, command_id="a-1")

        with ThreadPoolExecutor(6) as pool:
            pendings = set(pool.map(append, range(6)))
        assert len(pendings) == 1
        with pytest.raises(CommandIdReused):
            client.submit(Account, "acc-1", Open(owner="Ada"), command_id="a-1")
        start_worker()
        assert pendings.pop().result().version == 1
    assert len(read_topic(settings, APP.names(settings.namespace).commands("account"), PARTITIONS)) == 1


# --- load ------------------------------------------------------------------------------------------------------------


def test_a_load_sees_what_was_sent_before_it(client: Client) -> None:
    client.submit(Account, "acc-1", Open(owner="Ada"))
    sent = [client.submit(Account, "acc-1", Deposit(amount=Decimal(1))) for _ in range(1)]
    for number in range(2, 60):  # a load between any two, none of them waited for
        loading = client.submit_load(Account, "acc-1")
        sent.append(client.submit(Account, "acc-1", Deposit(amount=Decimal(1))))
        loaded = loading.result()
        assert (loaded.version, loaded.state.balance) == (number, number - 1)
    receipt = sent[-1].result()
    loaded = client.load(Account, "acc-1")
    assert (loaded.version, loaded.token) == (receipt.version, receipt.token)
    with pytest.raises(NotFound, match="acc-2"):
        client.load(Account, "acc-2")


def test_loads_in_one_batch_each_see_their_own_moment(settings: Settings, start_worker: Callable[[], Worker]) -> None:
    with APP.connect(settings) as client:
        sent, loads = [client.submit(Account, "acc-1", Open(owner="Ada"))], []
        for _ in range(20):
            loads.append(client.submit_load(Account, "acc-1"))
            sent.append(client.submit(Account, "acc-1", Deposit(amount=Decimal(1))))
        start_worker()
        assert [load.result().version for load in loads] == list(range(1, 21))
        # The event that a token names was made in the very transaction that the load was answered in.
        assert [load.result().token for load in loads] == [pending.result().token for pending in sent[:-1]]


def test_a_load_right_after_a_take_over_sees_everything(
    client: Client, start_worker: Callable[[], Worker], worker: Worker
) -> None:
    ids = [f"acc-{number}" for number in range(8)]
    for id_ in ids:
        client.send(Account, id_, Open(owner="Ada"))
    deposits = {id_: client.send(Account, id_, Deposit(amount=Decimal(5))) for id_ in ids}
    worker.stop()
    pendings = {id_: client.submit_load(Account, id_) for id_ in ids}  # waiting before anyone owns the partitions
    start_worker()
    for id_ in ids:
        loaded = pendings[id_].result()
        assert (loaded.version, loaded.state.balance) == (2, 5)
        assert loaded.token == deposits[id_].token


def test_loads_go_on_while_partitions_change_hands(
    client: Client, start_worker: Callable[[], Worker], worker: Worker
) -> None:
    ids = ["acc-0", "acc-1", "acc-2", "acc-3"]
    assert {partition_for(id_.encode(), PARTITIONS) for id_ in ids} == {0, 1}
    for id_ in ids:
        client.send(Account, id_, Open(owner="Ada"))
    second = start_worker()
    rounds, owned_by_both = 0, False
    deadline = time.monotonic() + 60
    while not (owned_by_both and rounds > 20):
        rounds += 1
        for id_ in ids:
            sent = client.send(Account, id_, Deposit(amount=Decimal(1)))
            loaded = client.load(Account, id_)
            assert (loaded.version, loaded.state.balance, loaded.token) == (sent.version, rounds, sent.token)
        owned_by_both = owned_by_both or (second.worker.ready() and len(second.worker._owners) == 1)
        assert time.monotonic() < deadline


def test_a_large_state_comes_whole(client: Client) -> None:
    notes = [f"{number:05d}" + "x" * 1_000 for number in range(60)]
    client.append(Account, "acc-1", [Opened(owner="Ada")], expected_version=0)
    client.append(Account, "acc-1", [Deposited(amount=Decimal(1), note=note) for note in notes], expected_version=1)
    pendings = [client.submit_load(Account, "acc-1") for _ in range(20)]
    assert all(pending.result().state.notes == notes for pending in pendings)


def test_a_coroutine_awaits_appends_and_loads(settings: Settings, worker: Worker) -> None:
    async def main() -> tuple[int, Decimal]:
        async with APP.connect(settings) as client:
            await client.submit_append(Account, "acc-1", [Opened(owner="Ada"), ONE], expected_version=0)
            loaded = await client.submit_load(Account, "acc-1")
            with pytest.raises(NotFound):
                await client.submit_load(Account, "acc-2")
            return loaded.version, loaded.state.balance

    assert asyncio.run(main()) == (2, Decimal("1.00"))


def test_a_client_of_another_version_loads_what_the_worker_has(client: Client, settings: Settings) -> None:
    client.append(Account, "acc-1", [Opened(owner="Ada"), ONE], expected_version=0)
    older, newer, other = account_classes()
    with App("bank", aggregates=[older], partitions=PARTITIONS).connect(settings) as connected:
        assert connected.load(older, "acc-1").state == older(owner="Ada")
    with App("bank", aggregates=[newer], partitions=PARTITIONS).connect(settings) as connected:
        assert connected.load(newer, "acc-1").state == newer(owner="Ada", balance=Decimal("1.00"), colour="red")
    with (
        App("bank", aggregates=[other], partitions=PARTITIONS).connect(settings) as connected,
        pytest.raises(DecodeError, match="deploy both in one version"),
    ):
        connected.load(other, "acc-1")


def account_classes() -> tuple[type[Any], type[Any], type[Any]]:
    class Base(Aggregate, abstract=True):
        owner: str

        @creates
        @classmethod
        def open(cls, command: Open) -> Opened:
            return Opened(owner=command.owner)

        @creates
        @classmethod
        def on_opened(cls, event: Opened) -> Self:
            return cls(owner=event.owner)

    class Older(Base, name="account"):
        pass

    class Newer(Base, name="account"):
        balance: Money = Decimal("7.00")  # another default: nothing is made of this state any more
        colour: str = "red"

    class Other(Base, name="account"):
        balance: list[str]

    return Older, Newer, Other


def test_a_load_that_nobody_answers_can_be_repeated(settings: Settings, start_worker: Callable[[], Worker]) -> None:
    with APP.connect(settings) as client:
        with pytest.raises(LoadUnanswered):
            client.load(Account, "acc-1", timeout=0.2)
        client.submit(Account, "acc-1", Open(owner="Ada"))
        start_worker()
        assert client.load(Account, "acc-1").version == 1
