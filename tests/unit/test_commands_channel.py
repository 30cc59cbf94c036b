from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from eventsource.clock import RandomIds
from eventsource.commands.builtin import APPEND
from eventsource.commands.channel import Channel, Submission
from eventsource.commands.client_codecs import ClientCodecs
from eventsource.commands.content import ContentHashes, equal_hash
from eventsource.commands.deferred_sends import DeferredSends
from eventsource.commands.pending import Pending
from eventsource.commands.receipt import Receipt
from eventsource.commands.reply import Reply
from eventsource.commands.request import read_request
from eventsource.commands.requests import Requests
from eventsource.commands.routes import Route
from eventsource.commands.sender import CommandSender
from eventsource.commands.status import Status
from eventsource.errors import Backlogged, BrokerUnavailable, CommandIdReused, OutcomeUnknown
from eventsource.log.headers import body_hash
from eventsource.log.record import Outgoing, Record
from eventsource.log.token import Token
from eventsource.names import Names
from eventsource.schemas import Canonical, Malformed, MemorySchemaStore
from eventsource.settings import KafkaSettings, Settings
from eventsource.testing import VirtualClock
from examples.bank.domain import Account
from tests.counter_log import Begin, Count, Counted, Counter, Log

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
        self.records: list[Record] = []
        self.before: Callable[[], object] = lambda: None

    def send(self, command: Outgoing, undelivered: Callable[[], None], deadline: float, *, wait: bool) -> None:
        self.before()
        self.sent.append(command.key.decode())
        topic, partition, key, value, headers = command
        self.records.append(Record(topic, partition, len(self.sent), 0, key, value, tuple(headers)))

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


def receipt(reply: Reply) -> Receipt:
    return Receipt(reply.command_id, "a", reply.version, Token(bytes(16), 0, reply.offset, "a", reply.version))


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

    def repeat(self, type_: str, value: bytes, form: Canonical | None) -> Pending:
        """Sends a request to the same aggregate under the same id."""
        pending: Pending = Pending("r-1", "a", SENT_AT)
        submission = Submission(ROUTE, b"a", type_, value, SECONDS, "raise", form=form)
        return self.channel.submit(submission, pending, lambda reply: pending.resolve(receipt(reply)))

    def answer(self, *replies: Reply) -> None:
        """What the client's thread does with replies."""
        for waiting, reply in self.channel._requests.in_flight.take(replies):
            waiting.answer(reply)

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


# --- repetitions of what is in flight --------------------------------------------------------------------------------

ONE, SAME, OTHER = {"tea": 0.0, "pot": 2.0}, {"pot": 2.0, "tea": -0.0}, {"tea": 1.0, "pot": 2.0}
LONG = {f"{number:05}": float(number) for number in range(1_000)}

Encode = Callable[[ClientCodecs, dict[str, float]], tuple[str, bytes, Canonical | None]]


def command_of(codecs: ClientCodecs, notes: dict[str, float]) -> tuple[str, bytes, Canonical | None]:
    return "count", codecs.command(Count(notes=notes)), codecs.command_form(Count)


def append_of(codecs: ClientCodecs, notes: dict[str, float]) -> tuple[str, bytes, Canonical | None]:
    return APPEND, codecs.append(Counter, [Counted(), Counted(notes=notes)]), codecs.append_form(Counter)


@pytest.mark.parametrize("encode", [command_of, append_of], ids=["command", "append"])
@pytest.mark.parametrize(
    ("one", "same", "other"),
    [(ONE, SAME, OTHER), (LONG, dict(reversed(LONG.items())), {**LONG, "00000": 1.0})],
    ids=["short", "long"],
)
def test_a_repetition_in_flight_with_its_dict_in_another_order_shares_the_answer(
    setup: Setup, encode: Encode, one: dict[str, float], same: dict[str, float], other: dict[str, float]
) -> None:
    log = Log()
    owner, codecs = log.owner(), ClientCodecs(log.schemas)
    (begun,) = log.take(owner, log.command("b-1", Begin()))
    first, again = setup.repeat(*encode(codecs, one)), setup.repeat(*encode(codecs, same))
    with pytest.raises(CommandIdReused):
        setup.repeat(*encode(codecs, other))
    (record,) = setup.sender.records
    assert again is first
    setup.answer(begun._replace(topic_crc=ROUTE.topic_crc))
    assert not again.done()
    digest = read_request(record, "/t").body_hash  # which the owner's reply carries
    setup.answer(Reply("r-1", Status.ACCEPTED, 0, 9, 2, topic_crc=ROUTE.topic_crc, body_hash=digest))
    assert first.result().version == again.result().version == 2


@pytest.mark.parametrize("encode", [command_of, append_of], ids=["command", "append"])
@pytest.mark.parametrize("notes", [ONE, SAME, LONG, {}])
def test_client_and_owner_agree_on_what_is_equal(setup: Setup, encode: Encode, notes: dict[str, float]) -> None:
    log = Log()
    type_, value, form = encode(ClientCodecs(log.schemas), notes)
    setup.repeat(type_, value, form)
    found = equal_hash(b"a", type_, value, form)
    assert found is not None
    assert found() == ContentHashes(log.schemas).of(read_request(setup.sender.records[0], "/t"))


def test_what_equal_content_has_equal_bytes_for_costs_nothing() -> None:
    codecs = ClientCodecs(MemorySchemaStore())
    assert codecs.command_form(Begin) is None
    assert codecs.append_form(Account) is None
    assert equal_hash(b"a", "begin", b"value", None) is None


def test_the_form_of_a_short_value_is_made_when_it_is_asked_for_and_that_of_a_long_one_at_once() -> None:
    made: list[int] = []

    def form(value: bytes) -> bytes:
        made.append(len(value))
        return value

    short, long = equal_hash(b"a", "count", bytes(100), form), equal_hash(b"a", "count", bytes(10_000), form)
    assert made == [10_000]
    assert short is not None
    assert long is not None
    assert short() != long()
    assert made == [10_000, 100]


def test_a_value_that_has_no_canonical_form_is_its_own() -> None:
    def form(value: bytes) -> bytes:
        raise Malformed

    found = equal_hash(b"a", "count", b"value", form)
    assert found is not None
    assert found() == body_hash(b"a", "count", b"value")
