"""Closing, draining and submitting while the broker stands still: everything ends within its time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from uuid import uuid4

import pytest
from confluent_kafka.admin import NewTopic

from eventsource.commands.channel import WhenFull
from eventsource.commands.pending import Pending
from eventsource.commands.replies import ReplySender
from eventsource.embedded import EmbeddedStack
from eventsource.errors import BrokerUnavailable, OutcomeUnknown
from eventsource.log.admin import LogAdmin
from eventsource.log.topics import apply
from eventsource.settings import ClientSettings, KafkaSettings, Settings, WorkerSettings
from tests.integration.client.accounts import APP, Account, Deposit, Open, Opened
from tests.integration.command_threads import WorkerThread

REQUEST_SECONDS = 2.0
SLACK_SECONDS = 8.0  # two cores shared by all, and none of the limits that these tests are about is as short


@pytest.fixture(scope="module")
def stack() -> Iterator[EmbeddedStack]:
    with EmbeddedStack.ephemeral() as started:
        yield started


@pytest.fixture
def settings(stack: EmbeddedStack) -> Settings:
    made = Settings(
        _env_file=None,
        namespace=f"n{uuid4().hex[:8]}",
        kafka=KafkaSettings(
            bootstrap_servers=stack.bootstrap_servers,
            request_timeout_seconds=REQUEST_SECONDS,
            transaction_timeout_seconds=5.0,
        ),
        client=ClientSettings(timeout_seconds=30),
        worker=WorkerSettings(state_dir=stack.stores_dir),
    )
    apply(APP, made)
    return made


@pytest.fixture
def freeze(stack: EmbeddedStack) -> Iterator[Callable[[], None]]:
    frozen: list[int] = []

    def stop() -> None:
        stack.pause_broker(1)
        frozen.append(1)

    yield stop
    if frozen:
        stack.resume_broker(1)
        wait_for_controller(stack)


def wait_for_controller(stack: EmbeddedStack) -> None:
    """A broker that stood still is without a controller for a while: it describes topics and makes none."""
    deadline = time.monotonic() + 90
    topic = NewTopic(f"n{uuid4().hex[:8]}", 1, 1)
    while True:
        try:
            LogAdmin({"bootstrap.servers": stack.bootstrap_servers}).create_topics([topic])
        except BrokerUnavailable:
            assert time.monotonic() < deadline
        else:
            return


def seconds_of(action: Callable[[], object], limit_seconds: float) -> float:
    """How long it took. It runs apart, so that what hangs fails the test and does not hang it."""
    began = time.monotonic()
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    thread.join(limit_seconds)
    assert not thread.is_alive(), f"it did not end within {limit_seconds} s"
    return time.monotonic() - began


def test_a_client_closes_in_time_and_leaves_nobody_waiting(settings: Settings, freeze: Callable[[], None]) -> None:
    with WorkerThread(APP, Account, settings):
        client = APP.connect(settings)
        client.send(Account, "acc-1", Open(owner="Ada"))
        client.send(Account, "acc-1", Deposit(amount=Decimal(1)))
        freeze()
        pending = [client.submit(Account, "acc-1", Deposit(amount=Decimal(1))) for _ in range(10)]
        told: list[Exception | None] = []
        waiting = threading.Thread(target=lambda: told.append(_error_of(pending[0].result)))
        waiting.start()
        seconds_of(client.close, REQUEST_SECONDS + SLACK_SECONDS)
        waiting.join(SLACK_SECONDS)
        assert [type(error) for error in told] == [OutcomeUnknown]
        assert all(each.done() for each in pending)


@pytest.mark.parametrize("when_full", ["wait", "raise"])
def test_a_submit_that_must_register_a_schema_first_keeps_its_time(
    settings: Settings, freeze: Callable[[], None], when_full: WhenFull
) -> None:
    client = APP.connect(settings)
    freeze()
    told: list[Exception | None] = []
    pendings: list[Pending] = []

    def submit(action: Callable[[], Pending]) -> None:
        told.append(_error_of(lambda: pendings.append(action())))

    for action in (
        lambda: client.submit(Account, "acc-1", Open(owner="Ada"), timeout=0.5, when_full=when_full),
        lambda: client.submit_append(
            Account, "acc-1", [Opened(owner="Ada")], expected_version=0, timeout=0.5, when_full=when_full
        ),
    ):
        took = seconds_of(lambda action=action: submit(action), 1.5)  # type: ignore[misc]
        assert took < 1.5
    # One that does not wait is told where the answer is awaited.
    errors = [error for error in told if error is not None] + [_error_of(pending.result) for pending in pendings]
    assert [type(error) for error in errors] == [BrokerUnavailable] * 2
    assert len(pendings) == (0 if when_full == "wait" else 2)
    seconds_of(client.close, 2 * REQUEST_SECONDS + SLACK_SECONDS)


def test_replies_that_no_broker_takes_hold_nobody_up(settings: Settings, freeze: Callable[[], None]) -> None:
    topic = APP.names(settings.namespace).replies
    replies = ReplySender(settings.kafka.client_config(), topic)
    replies.send([(0, b"c" * 16, b"x")])
    replies.close()
    replies = ReplySender(settings.kafka.client_config(), topic)
    replies.send([(0, b"c" * 16, b"x")])
    freeze()
    replies.send([(0, b"c" * 16, b"x")])
    seconds_of(lambda: replies.close(1.0), 1.0 + SLACK_SECONDS)
    replies.send([(0, b"c" * 16, b"x")])  # an owner that did not end in time


def test_a_worker_drains_in_time(settings: Settings, freeze: Callable[[], None]) -> None:
    worker = WorkerThread(APP, Account, settings).start()
    with APP.connect(settings) as client:
        client.send(Account, "acc-1", Open(owner="Ada"))
    freeze()
    kafka = settings.kafka
    seconds_of(worker.stop, kafka.transaction_timeout_seconds + 5.0 + kafka.session_timeout_seconds + SLACK_SECONDS)


def _error_of(action: Callable[[], object]) -> Exception | None:
    try:
        action()
    except Exception as error:  # noqa: BLE001 - which one it is, is what the test asks
        return error
    return None
