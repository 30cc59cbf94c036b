from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from eventsource.clock import RandomIds
from eventsource.commands.channel import Channel, Submission
from eventsource.commands.deferred_sends import DeferredSends
from eventsource.commands.pending import Pending
from eventsource.commands.requests import Requests
from eventsource.commands.routes import Route
from eventsource.commands.sender import CommandSender
from eventsource.errors import Backlogged, BrokerUnavailable, OutcomeUnknown
from eventsource.log.record import Outgoing
from eventsource.names import Names
from eventsource.settings import KafkaSettings, Settings
from eventsource.testing import VirtualClock

SENT_AT = datetime(2026, 1, 1, tzinfo=UTC)
ROUTE = Route("account", "bank.account.commands", "bank.account.events", 1, bytes(16), 7)
SECONDS = 5.0


class Admin:
    """Describes a replies topic of one partition that holds nothing."""

    def wait_until_described(self, topics: set[str]) -> dict[str, Any]:
        return {topic: SimpleNamespace(topic_id=bytes(16), replicas=[1]) for topic in topics}

    def end_offsets(self, places: list[tuple[str, int]]) -> dict[tuple[str, int], int]:
        return dict.fromkeys(places, 0)


class Sender:
    """Keeps what a `CommandSender` would queue; `before` runs first, and may raise."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.before: Callable[[], object] = lambda: None

    def send(self, command: Outgoing, undelivered: Callable[[], None], deadline: float, *, wait: bool) -> None:
        self.before()
        self.sent.append(command.key.decode())

    def serve(self) -> None:
        """There are no reports."""

    def flush(self, timeout_seconds: float) -> None:
        """Nothing is queued."""

    def close(self) -> None:
        """Nothing is open."""


class Deferring(DeferredSends):
    """`before` runs before each command is looked at."""

    before: Callable[[], object] = staticmethod(lambda: None)

    def defer(self, *args: Any) -> bool:
        self.before()
        return super().defer(*args)


class Setup:
    """A channel whose client thread is the test: `expire` does what that thread does when the time of all requests is over."""

    def __init__(self) -> None:
        self.clock = VirtualClock(SENT_AT)
        self.sender = Sender()
        settings = Settings(_env_file=None, namespace="test", kafka=KafkaSettings(bootstrap_servers="nowhere:1"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Requests, "start", lambda *_: None)
            patch.setattr(CommandSender, "connect", lambda *_, **__: self.sender)
            admin: Any = Admin()
            self.channel = Channel(settings, Names("test", "bank"), admin, clock=self.clock, ids=RandomIds())
        self.deferred = self.channel._deferred = Deferring(100)

    def submit(self, key: str, registering: Future[None] | None = None) -> Pending:
        pending: Pending = Pending(f"of {key}", key, SENT_AT)
        submission = Submission(ROUTE, key.encode(), "open", b"value", SECONDS, "raise")
        return self.channel.submit(submission, pending, lambda reply: None, registering)

    def expire(self) -> None:
        self.clock.advance(timedelta(seconds=SECONDS))
        self.channel._requests._expire(self.clock.monotonic())


@pytest.fixture
def setup() -> Iterator[Setup]:
    setup = Setup()
    yield setup
    setup.channel.close()


def test_what_expires_while_it_is_found_out_whether_it_must_wait_is_not_sent(setup: Setup) -> None:
    setup.submit("acc-1", Future())
    setup.deferred.before = setup.expire
    pending = setup.submit("acc-2")  # nothing waits there
    with pytest.raises(BrokerUnavailable, match="nothing was sent"):
        pending.result()
    assert setup.sender.sent == []


def test_what_nothing_waits_for_is_sent_while_others_wait(setup: Setup) -> None:
    registering = Future[None]()
    setup.submit("acc-1", registering)
    pending = setup.submit("acc-2")
    assert setup.sender.sent == ["acc-2"]
    setup.expire()
    with pytest.raises(OutcomeUnknown):
        pending.result()
    registering.set_result(None)
    assert setup.sender.sent == ["acc-2"]  # the other one has expired, and its error says that nothing was sent


def test_what_expires_on_its_way_to_the_queue_has_an_unknown_outcome(setup: Setup) -> None:
    registering = Future[None]()
    deferred = setup.submit("acc-1", registering)
    setup.sender.before = setup.expire
    registering.set_result(None)
    setup.sender.before = lambda: None
    at_once = setup.submit("acc-2")
    setup.expire()
    assert setup.sender.sent == ["acc-1", "acc-2"]
    for pending in (deferred, at_once):
        with pytest.raises(OutcomeUnknown):
            pending.result()


def test_what_no_place_is_left_for_is_not_sent_later(setup: Setup) -> None:
    setup.deferred = setup.channel._deferred = Deferring(1)
    registering = Future[None]()
    setup.submit("acc-1", registering)
    with pytest.raises(Backlogged, match="nothing was sent"):
        setup.submit("acc-2", registering)
    registering.set_result(None)
    assert setup.sender.sent == ["acc-1"]


def test_what_waits_at_the_end_of_the_client_is_not_sent_later(setup: Setup) -> None:
    registering = Future[None]()
    pending = setup.submit("acc-1", registering)
    setup.channel._requests._expire(float("inf"))  # as the client's thread does last
    registering.set_result(None)
    with pytest.raises(BrokerUnavailable, match="nothing was sent"):
        pending.result()
    assert setup.sender.sent == []
