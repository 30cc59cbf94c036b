"""Commands through a real broker: client, partition owners, and what they leave in the topics."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Self

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType
from pydantic import Field

from eventsource.app import App
from eventsource.commands.client import Client
from eventsource.doctor import check_start
from eventsource.domain import Aggregate, Command, Event, Rejected, applies, creates, decides
from eventsource.errors import (
    AlreadyExists,
    Backlogged,
    ClientClosed,
    CommandIdReused,
    Expired,
    ForkedClient,
    HandlerFailed,
    NotFound,
    OutcomeUnknown,
    TopicMismatch,
    TopicMissing,
    VersionConflict,
)
from eventsource.log.admin import LogAdmin
from eventsource.log.header_reading import read_event_headers
from eventsource.log.partitioner import partition_for
from eventsource.log.topics import apply, plan
from eventsource.settings import ClientSettings, KafkaSettings, Settings
from tests.integration.command_threads import WorkerThread, read_topic

Money = Annotated[Decimal, Field(gt=0, max_digits=18, decimal_places=2)]


class Open(Command, name="open"):
    owner: str


class Deposit(Command, name="deposit"):
    amount: Money


class Withdraw(Command, name="withdraw"):
    amount: Money


class Opened(Event, name="opened"):
    owner: str


class Deposited(Event, name="deposited"):
    amount: Money


class Withdrawn(Event, name="withdrawn"):
    amount: Money


class InsufficientFunds(Rejected, code="insufficient_funds"):
    available: Decimal


class Account(Aggregate, name="account"):
    balance: Decimal = Decimal("0.00")

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
        if command.amount == Decimal(13):
            raise ZeroDivisionError("unlucky")
        return Deposited(amount=command.amount)

    @decides
    def withdraw(self, command: Withdraw) -> Withdrawn:
        if command.amount > self.balance:
            raise InsufficientFunds(available=self.balance)
        return Withdrawn(amount=command.amount)

    @applies
    def on_deposited(self, event: Deposited) -> None:
        self.balance += event.amount

    @applies
    def on_withdrawn(self, event: Withdrawn) -> None:
        self.balance -= event.amount


PARTITIONS = 4
APP = App("bank", aggregates=[Account], partitions=PARTITIONS)


@pytest.fixture
def settings(eventsource_stack: Any, eventsource_namespace: str) -> Settings:
    return Settings(
        _env_file=None,
        namespace=eventsource_namespace,
        kafka=KafkaSettings(bootstrap_servers=eventsource_stack.bootstrap_servers),
        client=ClientSettings(timeout_seconds=30),
    )


@pytest.fixture
def start_worker(settings: Settings) -> Iterator[Callable[[], WorkerThread]]:
    started: list[WorkerThread] = []

    def start() -> WorkerThread:
        started.append(WorkerThread(APP, Account, settings))
        return started[-1].start()

    apply(APP, settings)
    yield start
    for worker in started:
        worker.stop()


@pytest.fixture
def worker(start_worker: Callable[[], WorkerThread]) -> WorkerThread:
    return start_worker()


@pytest.fixture
def client(settings: Settings, worker: WorkerThread) -> Iterator[Client]:
    with APP.connect(settings) as connected:
        yield connected


def versions(settings: Settings) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for record in read_topic(settings, APP.names(settings.namespace).events("account"), PARTITIONS):
        found.setdefault(record.key.decode(), []).append(read_event_headers(record.headers).version)
    return found


def test_commands_are_answered_and_rejections_raised_again(client: Client, settings: Settings) -> None:
    opened = client.send(Account, "acc-1", Open(owner="Ada"))
    assert (opened.version, opened.aggregate_id) == (1, "acc-1")
    deposited = client.send(Account, "acc-1", Deposit(amount=Decimal("5.00")), expected_version=1, actor="ada")
    assert deposited.version == 2
    assert deposited.token.partition == partition_for(b"acc-1", 4)
    assert deposited.token.offset > opened.token.offset
    with pytest.raises(InsufficientFunds) as rejected:
        client.send(Account, "acc-1", Withdraw(amount=Decimal("9.00")))
    assert rejected.value.available == Decimal("5.00")
    with pytest.raises(NotFound, match="acc-2"):
        client.send(Account, "acc-2", Deposit(amount=Decimal(1)))
    with pytest.raises(AlreadyExists):
        client.send(Account, "acc-1", Open(owner="Eve"))
    with pytest.raises(VersionConflict) as conflict:
        client.send(Account, "acc-1", Deposit(amount=Decimal(1)), expected_version=1)
    assert (conflict.value.expected, conflict.value.actual) == (1, 2)
    with pytest.raises(HandlerFailed, match="ZeroDivisionError: unlucky"):
        client.send(Account, "acc-1", Deposit(amount=Decimal(13)))
    with pytest.raises(Expired):
        client.send(Account, "acc-1", Deposit(amount=Decimal(1)), sent_at=datetime.now(UTC) - timedelta(days=2))
    assert versions(settings) == {"acc-1": [1, 2]}


def test_a_command_sent_again_takes_effect_once(client: Client, settings: Settings) -> None:
    client.send(Account, "acc-1", Open(owner="Ada"))
    first = client.send(Account, "acc-1", Deposit(amount=Decimal(5)), command_id="d-1")
    again = client.send(Account, "acc-1", Deposit(amount=Decimal(5)), command_id="d-1")
    assert first == again
    with pytest.raises(CommandIdReused):
        client.send(Account, "acc-1", Deposit(amount=Decimal(6)), command_id="d-1")
    assert versions(settings) == {"acc-1": [1, 2]}


def test_a_command_that_is_on_its_way_already_shares_its_answer(
    settings: Settings, start_worker: Callable[[], WorkerThread]
) -> None:
    with APP.connect(settings) as client:
        first = client.submit(Account, "acc-1", Open(owner="Ada"), command_id="o-1")
        second = client.submit(Account, "acc-1", Open(owner="Ada"), command_id="o-1")
        with pytest.raises(CommandIdReused):
            client.submit(Account, "acc-1", Open(owner="Eve"), command_id="o-1")
        start_worker()
        assert first.result() == second.result()
    assert len(read_topic(settings, APP.names(settings.namespace).commands("account"), PARTITIONS)) == 1


def test_many_callers_share_a_client(client: Client, settings: Settings) -> None:
    ids = [f"acc-{number}" for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda id_: client.send(Account, id_, Open(owner="Ada")), ids))
        pendings = [client.submit(Account, id_, Deposit(amount=Decimal(1))) for _ in range(20) for id_ in ids]
        assert {pending.result().version for pending in pendings} == set(range(2, 22))
    assert versions(settings) == {id_: list(range(1, 22)) for id_ in ids}


def test_a_coroutine_awaits_answers(settings: Settings, worker: WorkerThread) -> None:
    async def main() -> list[int]:
        async with APP.connect(settings) as client:
            await client.submit(Account, "acc-1", Open(owner="Ada"))
            pendings = [
                client.submit(Account, "acc-1", Deposit(amount=Decimal(1)), when_full="raise") for _ in range(5)
            ]
            return [(await pending).version for pending in pendings]

    assert asyncio.run(main()) == [2, 3, 4, 5, 6]


def test_the_next_owner_knows_every_answer(
    client: Client, settings: Settings, start_worker: Callable[[], WorkerThread], worker: WorkerThread
) -> None:
    client.send(Account, "acc-1", Open(owner="Ada"), command_id="o-1")
    first = client.send(Account, "acc-1", Deposit(amount=Decimal(5)), command_id="d-1")
    with pytest.raises(InsufficientFunds):
        client.send(Account, "acc-1", Withdraw(amount=Decimal(9)), command_id="w-1")
    worker.stop()
    start_worker()
    assert client.send(Account, "acc-1", Deposit(amount=Decimal(5)), command_id="d-1") == first
    client.send(Account, "acc-1", Deposit(amount=Decimal(5)), command_id="d-2")
    with pytest.raises(InsufficientFunds) as rejected:  # 10.00 are there now, but the first answer stands
        client.send(Account, "acc-1", Withdraw(amount=Decimal(9)), command_id="w-1")
    assert rejected.value.available == Decimal("5.00")
    assert versions(settings) == {"acc-1": [1, 2, 3]}


def test_a_second_worker_takes_partitions_over_and_gives_them_back(
    client: Client, settings: Settings, start_worker: Callable[[], WorkerThread], worker: WorkerThread
) -> None:
    ids = [f"acc-{number}" for number in range(12)]
    for id_ in ids:
        client.send(Account, id_, Open(owner="Ada"))
    second = start_worker()
    stop = threading.Event()
    sent = 0
    done = threading.Event()

    def keep_sending() -> None:
        nonlocal sent
        while not stop.is_set():
            for id_ in ids:
                client.send(Account, id_, Deposit(amount=Decimal(1)))
            sent += 1
        done.set()

    sender = threading.Thread(target=keep_sending)
    sender.start()
    deadline = threading.Event()
    for _ in range(300):
        if second.worker.ready() and len(second.worker._owners) == 2 and sent > 3:
            break
        deadline.wait(0.1)
    taken = len(second.worker._owners)
    second.stop()
    rounds = sent
    for _ in range(300):
        if sent >= rounds + 2:
            break
        deadline.wait(0.1)
    stop.set()
    sender.join(60)
    assert taken == 2
    assert done.is_set()
    assert versions(settings) == {id_: list(range(1, sent + 2)) for id_ in ids}
    assert worker.failure is None
    assert second.failure is None


def test_no_answer_is_an_unknown_outcome_and_a_retry_is_safe(
    settings: Settings, start_worker: Callable[[], WorkerThread]
) -> None:
    with APP.connect(settings) as client:
        first = client.submit(Account, "acc-2", Open(owner="Ada"))  # registers the schema, however long that takes
        with pytest.raises(OutcomeUnknown) as unknown:
            client.send(Account, "acc-1", Open(owner="Ada"), timeout=3)
        start_worker()
        assert first.result().version == 1
        again = client.send(
            Account, "acc-1", Open(owner="Ada"), command_id=unknown.value.command_id, sent_at=unknown.value.sent_at
        )
        assert again.version == 1
    assert versions(settings) == {"acc-1": [1], "acc-2": [1]}


def test_a_full_client_tells_those_who_will_not_wait(
    settings: Settings, start_worker: Callable[[], WorkerThread]
) -> None:
    small = settings.model_copy(update={"client": ClientSettings(max_in_flight=2, timeout_seconds=30)})
    with APP.connect(small) as client:
        pendings = [client.submit(Account, f"acc-{number}", Open(owner="Ada")) for number in range(2)]
        with pytest.raises(Backlogged):
            client.submit(Account, "acc-3", Open(owner="Ada"), when_full="raise")
        with pytest.raises(Backlogged):
            client.submit(Account, "acc-3", Open(owner="Ada"), timeout=0.05)
        start_worker()
        assert [pending.result().version for pending in pendings] == [1, 1]
        assert client.send(Account, "acc-3", Open(owner="Ada")).version == 1


def test_a_closed_client_gives_up_what_is_unanswered_and_takes_no_more(
    settings: Settings, start_worker: Callable[[], WorkerThread]
) -> None:
    client = APP.connect(settings)
    pending = client.submit(Account, "acc-1", Open(owner="Ada"))
    client.close()
    client.close()
    with pytest.raises(OutcomeUnknown):
        pending.result()
    with pytest.raises(ClientClosed):
        client.send(Account, "acc-1", Open(owner="Ada"))


def test_a_fork_is_noticed_and_refused(client: Client) -> None:
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            client.send(Account, "acc-1", Open(owner="Ada"), timeout=1)
        except ForkedClient:
            os.write(write_end, b"refused")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(write_end)
    assert os.read(read_end, 100) == b"refused"
    os.close(read_end)
    assert client.send(Account, "acc-1", Open(owner="Ada")).version == 1


def test_an_event_that_the_broker_refuses_fails_its_command_and_no_other(client: Client, settings: Settings) -> None:
    topic = APP.names(settings.namespace).events("account")
    smaller = ConfigEntry("max.message.bytes", "2000", incremental_operation=AlterConfigOpType.SET)
    raw = AdminClient({"bootstrap.servers": settings.kafka.bootstrap_servers})
    for future in raw.incremental_alter_configs(
        [ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[smaller])]
    ).values():
        future.result(10)
    incompressible = os.urandom(5_000).hex()
    pendings = [client.submit(Account, "acc-1", Open(owner=owner)) for owner in (incompressible, "Ada")]
    with pytest.raises(HandlerFailed, match="MessageTooLarge"):
        pendings[0].result()
    assert pendings[1].result().version == 1
    assert versions(settings) == {"acc-1": [1]}


def test_topics_are_planned_made_recorded_and_checked(settings: Settings) -> None:
    assert {change.action for change in plan(APP, settings)} == {"create"}
    with pytest.raises(TopicMissing, match="topics apply"):
        check_start(APP, settings)
    with pytest.raises(TopicMissing):
        APP.connect(settings)
    apply(APP, settings)
    assert {change.action for change in plan(APP, settings)} == {"none"}
    check_start(APP, settings)
    other = App("bank", aggregates=[Account], partitions=8)
    with pytest.raises(TopicMismatch, match="has 4 partitions, the app wants 8"):
        check_start(other, settings)
    with pytest.raises(TopicMismatch, match="partitions=4"):
        other.connect(settings)


def test_a_topic_made_anew_is_noticed(settings: Settings) -> None:
    apply(APP, settings)
    topic = APP.names(settings.namespace).events("account")
    raw = AdminClient({"bootstrap.servers": settings.kafka.bootstrap_servers})
    raw.delete_topics([topic])[topic].result(10)
    admin = LogAdmin(settings.kafka.client_config())
    pause = threading.Event()
    while topic in admin.topic_names():
        pause.wait(0.05)
    with pytest.raises(TopicMismatch, match="is gone"):
        check_start(APP, settings)
    while True:
        try:
            config = {"retention.ms": "-1", "message.timestamp.type": "LogAppendTime"}
            admin.create_topics([NewTopic(topic, 4, 1, config=config)])
            break
        except Exception:  # noqa: BLE001 - the deletion is still going on
            pause.wait(0.05)
    with pytest.raises(TopicMismatch, match="made anew"):
        check_start(APP, settings)
