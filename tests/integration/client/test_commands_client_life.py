"""A client from connecting to closing: what it holds open, who may close it, and what no call waits for."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal

import psutil
import pytest

from eventsource.commands.client import Client
from eventsource.commands.pending import Pending
from eventsource.errors import (
    BrokerUnavailable,
    ClientClosed,
    InvalidArgument,
    NotCaughtUp,
    OutcomeUnknown,
    TopicMissing,
)
from eventsource.log.header_reading import read_event_headers
from eventsource.log.topics import apply
from eventsource.schemas import KafkaSchemaStore, SchemaText
from eventsource.settings import Settings
from examples.bank import Account as BankAccount
from examples.bank import Balances, OpenAccount, bank
from tests.integration.client.accounts import APP, PARTITIONS, Account, Deposit, Open, Worker
from tests.integration.command_threads import WorkerThread, read_topic
from tests.sweeps import Sweep

LIMIT_SECONDS = 30.0


def eventually(check: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + LIMIT_SECONDS
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


class Held:
    """Threads and open files of this process, librdkafka's among them."""

    def __init__(self) -> None:
        process = psutil.Process()
        self.threads, self.files = process.num_threads(), process.num_fds()

    def __le__(self, other: Held) -> bool:
        return self.threads <= other.threads and self.files <= other.files

    def __repr__(self) -> str:
        return f"{self.threads} threads, {self.files} open files"


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What only the collector closes is not closed."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


# --- leaks ------------------------------------------------------------------------------------------------------------


@pytest.mark.faults
@pytest.mark.usefixtures("no_collector")
def test_connecting_loading_waiting_and_closing_leave_nothing_open(settings: Settings, sweep: Sweep) -> None:
    apply(bank, settings)

    def once() -> None:
        with bank.connect(settings) as client:
            receipt = client.send(BankAccount, f"acc-{time.monotonic_ns()}", OpenAccount())
            assert receipt.token is not None
            for _ in range(3):
                assert client.load(BankAccount, receipt.aggregate_id, at_version=1).version == 1
            with pytest.raises(NotCaughtUp):  # no projection runs here
                client.wait_for(receipt.token, Balances, timeout=0.01)
            for number in range(3):
                with pytest.raises(InvalidArgument):
                    client.wait_for(replace(receipt.token, topic_id=bytes([number]) * 16), Balances, timeout=0.01)

    with WorkerThread(bank, BankAccount, settings):
        with bank.connect(settings) as client:  # each owner begins its threads with its first commands
            for number in range(80):
                client.send(BankAccount, f"first-{number}", OpenAccount())
        once()
        before = Held()
        for _ in range(sweep.times(10, 100)):
            once()
        assert eventually(lambda: Held() <= before), f"{before} before, {Held()} after"


@pytest.mark.usefixtures("no_collector")
def test_a_client_that_cannot_connect_leaves_nothing_open(settings: Settings) -> None:
    with pytest.raises(TopicMissing):
        APP.connect(settings)
    before = Held()
    for _ in range(5):
        with pytest.raises(TopicMissing):
            APP.connect(settings)
    assert eventually(lambda: Held() <= before), f"{before} before, {Held()} after"


def test_a_reader_made_while_the_client_closes_is_closed_or_refused(settings: Settings) -> None:
    apply(bank, settings)
    made: list[object] = []
    closed: list[object] = []

    class Model:
        """A read model whose reader takes its time to be made."""

        making = threading.Event()

        @classmethod
        def reader(cls, app: object, given: object) -> Model:
            cls.making.set()
            time.sleep(0.2)
            made.append(cls)
            return cls()

        def close(self) -> None:
            closed.append(self)

        def wait_for(self, token: object, timeout_seconds: float) -> None: ...

    client = bank.connect(settings)
    reading = threading.Thread(target=lambda: client._connection.reader(Model))  # type: ignore[arg-type]
    reading.start()
    assert Model.making.wait(LIMIT_SECONDS)
    client.close()
    reading.join()
    assert len(made) == len(closed) == 1
    with pytest.raises(ClientClosed):
        client._connection.reader(Model)  # type: ignore[arg-type]


# --- callbacks --------------------------------------------------------------------------------------------------------


def test_a_callback_may_close_the_client(settings: Settings, worker: Worker) -> None:
    client = APP.connect(settings)
    client.send(Account, "acc-1", Open(owner="Ada"))
    threads = psutil.Process().num_threads()
    errors: list[BaseException] = []

    def close(_: Pending) -> None:
        try:
            client.close()
        except BaseException as error:  # noqa: BLE001 - told by the assertion
            errors.append(error)

    first = client.submit(Account, "acc-1", Deposit(amount=Decimal(1)))
    first.add_done_callback(close)
    assert first.result(LIMIT_SECONDS).version == 2
    assert eventually(lambda: psutil.Process().num_threads() < threads - 3)
    assert errors == []
    thread = client._connection.channel._requests._thread
    thread.join(LIMIT_SECONDS)
    assert not thread.is_alive()
    with pytest.raises(ClientClosed):
        client.send(Account, "acc-1", Deposit(amount=Decimal(1)))


def test_what_is_unanswered_when_a_callback_closes_the_client_is_told(settings: Settings) -> None:
    apply(APP, settings)
    client = APP.connect(settings)
    waiting = client.submit(Account, "acc-1", Open(owner="Ada"))
    expiring = client.submit(Account, "acc-2", Open(owner="Ada"), timeout=0.1)
    expiring.add_done_callback(lambda _: client.close())
    with pytest.raises(OutcomeUnknown):
        waiting.result(LIMIT_SECONDS)


def test_a_callback_that_ends_its_thread_ends_no_clients(settings: Settings, worker: Worker) -> None:
    def leave(_: Pending) -> None:
        raise SystemExit

    def cancel(_: Pending) -> None:
        raise asyncio.CancelledError

    with APP.connect(settings) as client:
        pending = client.submit(Account, "acc-1", Open(owner="Ada"))
        pending.add_done_callback(leave)
        pending.add_done_callback(cancel)
        pending.result()
        assert client.send(Account, "acc-1", Deposit(amount=Decimal(1))).version == 2


def test_a_client_is_closed_in_its_loop_after_an_awaited_answer(settings: Settings, worker: Worker) -> None:
    async def use() -> int:
        async with APP.connect(settings) as client:
            receipt = await client.submit(Account, "acc-1", Open(owner="Ada"), when_full="raise")
            client.close()
            return receipt.version

    assert asyncio.run(use()) == 1


# --- the first command of a class ----------------------------------------------------------------------------------------


class Slow:
    """Registers a schema when it is let."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.let = threading.Event()
        self.error: Exception | None = None
        register = KafkaSchemaStore.register

        def wait(store: KafkaSchemaStore, schema: SchemaText) -> None:
            assert self.let.wait(LIMIT_SECONDS)
            if self.error is not None:
                raise self.error
            register(store, schema)

        monkeypatch.setattr(KafkaSchemaStore, "register", wait)


def test_the_first_command_of_a_class_holds_up_no_loop_and_keeps_its_place(
    settings: Settings, start_worker: Callable[[], Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    with APP.connect(settings) as client:
        slow = Slow(monkeypatch)
        began = time.monotonic()
        pendings = [client.submit(Account, "acc-1", Open(owner="Ada"), when_full="raise")]
        loading = client.submit_load(Account, "acc-1", when_full="raise")
        pendings += [
            client.submit(Account, "acc-1", Deposit(amount=Decimal(1), note=str(number)), when_full="raise")
            for number in range(20)
        ]
        assert time.monotonic() - began < 2
        assert not any(pending.done() for pending in pendings)
        slow.let.set()
        start_worker()
        assert [pending.result().version for pending in pendings] == list(range(1, 22))
        assert loading.result().version == 1
        assert client.load(Account, "acc-1").state.notes == [str(number) for number in range(20)]


def test_what_registering_raises_is_raised_where_the_answer_is_awaited_and_the_next_call_registers_again(
    settings: Settings, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with APP.connect(settings) as client:
        slow = Slow(monkeypatch)
        slow.error = BrokerUnavailable("away")
        slow.let.set()
        pending = client.submit(Account, "acc-1", Open(owner="Ada"), when_full="raise")
        with pytest.raises(BrokerUnavailable):
            pending.result()
        slow.error = None
        assert client.submit(Account, "acc-1", Open(owner="Ada"), when_full="raise").result().version == 1
        assert len(client._connection.channel._deferred) == 0


def test_a_first_command_that_expires_before_its_schema_is_registered_is_never_sent(
    settings: Settings, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with APP.connect(settings) as client:
        slow = Slow(monkeypatch)
        pending = client.submit(Account, "acc-1", Open(owner="Ada"), when_full="raise", timeout=0.2)
        with pytest.raises(BrokerUnavailable, match="nothing was sent"):
            pending.result()
        slow.let.set()
        assert client.send(Account, "acc-1", Open(owner="Bea")).version == 1
        assert client.load(Account, "acc-1").state.owner == "Bea"


# --- views ------------------------------------------------------------------------------------------------------------


def test_a_view_sends_with_its_defaults_and_closes_nothing(client: Client, settings: Settings) -> None:
    with client.bound(actor="ada", timeout=20, metadata={"tenant": "t-1"}) as view:
        assert view.send(Account, "acc-1", Open(owner="Ada"), metadata={"shard": "a"}).version == 1
    (record,) = read_topic(settings, APP.names(settings.namespace).events("account"), PARTITIONS)
    trail = read_event_headers(record.headers).trail
    assert (trail.actor, dict(trail.metadata)) == ("ada", {"tenant": "t-1", "shard": "a"})
    assert client.send(Account, "acc-1", Deposit(amount=Decimal(1))).version == 2


def test_a_view_waits_as_long_as_it_is_bound_to(settings: Settings) -> None:
    apply(APP, settings)
    with APP.connect(settings) as client, pytest.raises(OutcomeUnknown) as caught:
        client.bound(timeout=0.2).bound(actor="ada").load(Account, "acc-1")  # no worker runs
    assert caught.value.waited_seconds == 0.2
