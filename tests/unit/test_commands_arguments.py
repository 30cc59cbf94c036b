"""What a caller may not give: refused before anything is sent, with what to give instead."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Self
from uuid import UUID

import pytest

from eventsource import Aggregate, App, Command, Event, HandlerFailed, applies, creates, decides, invariant
from eventsource.commands.arguments import check_when_full, key_of, seconds_of, token_of, trail_of
from eventsource.commands.receipt import Receipt
from eventsource.errors import DefinitionError, InvalidArgument
from eventsource.log.headers import EMPTY_TRAIL
from eventsource.log.token import Token
from eventsource.testing import TestApp


class Open(Command, name="open"):
    pass


class Opened(Event, name="opened"):
    pass


class Pay(Command, name="pay"):
    cents: int


class Paid(Event, name="paid"):
    cents: int


class Light(Command, name="light"):
    pass


class Lit(Event, name="lit"):
    pass


class Orphan(Command, name="orphan"):
    pass


class Wallet(Aggregate, name="wallet"):
    cents: int = 0

    @creates
    @classmethod
    def open(cls, command: Open) -> Opened:
        return Opened()

    @creates
    @classmethod
    def on_opened(cls, event: Opened) -> Self:
        return cls()

    @decides
    def pay(self, command: Pay) -> Paid:
        return Paid(cents=command.cents)

    @applies
    def on_paid(self, event: Paid) -> None:
        self.cents -= event.cents

    @invariant
    def never_below_zero(self) -> bool:
        return self.cents >= 0


class Lamp(Aggregate, name="lamp"):
    @creates
    @classmethod
    def light(cls, command: Light) -> Lit:
        return Lit()

    @creates
    @classmethod
    def on_lit(cls, event: Lit) -> Self:
        return cls()


class Base(Aggregate, abstract=True):
    pass


TOKEN = Token(bytes(16), 0, 1, "w-1", 1)
Call = Callable[[Any], object]


@pytest.fixture
def app() -> TestApp:
    return TestApp(App("shop", aggregates=[Wallet, Lamp]))


def send(aggregate: object = Wallet, id_: object = "w-1", command: object = None, **options: object) -> Call:
    given = Open() if command is None else command
    return lambda client: client.send(aggregate, id_, given, **options)


def append(*events: object, aggregate: object = Wallet, expected_version: object = 0, **options: object) -> Call:
    return lambda client: client.append(aggregate, "w-1", events, expected_version=expected_version, **options)


def load(aggregate: object = Wallet, id_: object = "w-1", **options: object) -> Call:
    return lambda client: client.load(aggregate, id_, **options)


REFUSED: list[tuple[Call, type[Exception], str]] = [
    (send(id_=None), InvalidArgument, r"None is no aggregate id: give a str or a UUID"),
    (send(id_=b"z"), InvalidArgument, r"b'z' is no aggregate id"),
    (send(id_=7), InvalidArgument, r"7 is no aggregate id"),
    (send(id_=""), InvalidArgument, r"an aggregate id is never empty"),
    (send(command_id=""), InvalidArgument, r"command_id='': give an id of at least one character"),
    (load(id_=None), InvalidArgument, r"None is no aggregate id"),
    (send(expected_version=True), InvalidArgument, r"expected_version=True: give the version that was read"),
    (send(expected_version="2"), InvalidArgument, r"expected_version='2'"),
    (send(expected_version=-1), InvalidArgument, r"expected_version=-1"),
    (send(expected_version=2**63), InvalidArgument, r"expected_version=9223372036854775808"),
    (append(Opened(), expected_version=None), InvalidArgument, r"give that version, 0 for an aggregate"),
    (append(Opened(), expected_version=1.0), InvalidArgument, r"expected_version=1.0"),
    (send(command_id=5), InvalidArgument, r"command_id=5: give a str, such as str\(5\)"),
    (append(Opened(), command_id=5), InvalidArgument, r"command_id=5"),
    (send(sent_at="today"), InvalidArgument, r"sent_at='today': pass on the one of the OutcomeUnknown"),
    (send(sent_at=datetime(2026, 1, 1)), InvalidArgument, r"sent_at=.*an aware datetime"),
    (send(actor=5), InvalidArgument, r"actor=5: give a str"),
    (send(metadata={"n": 1}), InvalidArgument, r"metadata takes a mapping of str to str"),
    (send(metadata="n"), InvalidArgument, r"metadata takes a mapping of str to str"),
    (load(at_version=1.5), InvalidArgument, r"at_version=1.5: give the number of an event"),
    (load(at_version=True), InvalidArgument, r"at_version=True"),
    (load(at_time="2026-01-01"), InvalidArgument, r"at_time='2026-01-01' is no datetime: give one with a time zone"),
    (send("wallet"), InvalidArgument, r"'wallet' is no aggregate class: give the class, Wallet"),
    (load("purse"), InvalidArgument, r"'purse' is no aggregate class: give one of Wallet, Lamp"),
    (append(Opened(), aggregate={}), InvalidArgument, r"\{\} is no aggregate class"),
    (load(Wallet()), InvalidArgument, r"give the class, Wallet"),
    (load(Base), InvalidArgument, r"Base is an abstract aggregate"),
    (send(command={"cents": 1}), InvalidArgument, r"^dict is no command: give an instance of one, of Open, Pay"),
    (send(command=Open), InvalidArgument, r"Open is a class: give a command, such as Open\(…\)"),
    (send(command=Opened()), InvalidArgument, r"Opened is an event: send the command .* or append it"),
    (send(command=Light()), DefinitionError, r"Light is no command of 'wallet': send it to Lamp"),
    (
        send(command=Orphan()),
        DefinitionError,
        r"Orphan is no command of 'wallet': send one that it takes, of Open, Pay",
    ),
    (append(), InvalidArgument, r"give at least one event"),
    (
        lambda client: client.append(Wallet, "w-1", 5, expected_version=0),
        InvalidArgument,
        r"append takes events, and this is of type int",
    ),
]


@pytest.mark.parametrize(("call", "error", "text"), REFUSED, ids=[text[:40] for _, _, text in REFUSED])
def test_what_cannot_be_meant_is_refused_and_nothing_is_sent(
    app: TestApp, call: Call, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        call(app)
    assert app.events() == []
    assert app.send(Wallet, "w-1", Open()).command_id in ("command-1", "command-2")


def test_what_is_meant_passes(app: TestApp) -> None:
    known = UUID(int=7)
    app.send(Wallet, known, Open(), expected_version=0, command_id="c", sent_at=app.clock.now(), metadata={"n": "1"})
    assert app.load(Wallet, str(known), at_version=1, at_time=None).version == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda app: app.rows(Wallet),
        lambda app: app.rows("wallets"),
        lambda app: app.events("wallet"),
        lambda app: app.state("wallet", "w-1"),
        lambda app: app.state(Wallet, 5),
    ],
)
def test_what_a_test_looks_at_is_checked_too(app: TestApp, call: Call) -> None:
    with pytest.raises(InvalidArgument, match=r"is no read model|is no aggregate class|is no aggregate id"):
        call(app)


def test_a_broken_invariant_says_what_to_do_to_those_who_send_and_to_those_who_append(app: TestApp) -> None:
    app.send(Wallet, "w-1", Open())
    calls: list[Call] = [
        lambda app: app.send(Wallet, "w-1", Pay(cents=1)),
        lambda app: app.append(Wallet, "w-1", [Paid(cents=1)], expected_version=1),
    ]
    for call in calls:
        with pytest.raises(HandlerFailed) as failed:
            call(app)
        assert "never_below_zero" in str(failed.value)
        assert "refuse what leads to them in the method with @decides, or do not append them" in str(failed.value)
        assert "handler" not in str(failed.value)


@pytest.mark.parametrize("timeout", [-1, -0.1, float("nan"), float("inf"), 604_801, 10**400, True, "5", None])
def test_a_time_out_is_a_number_of_seconds(timeout: object) -> None:
    with pytest.raises(InvalidArgument, match=r"timeout=.*: give seconds, a number from 0 to 604800"):
        seconds_of(timeout)
    assert [seconds_of(good) for good in (0, 1, 2.5, 604_800)] == [0, 1, 2.5, 604_800]


def test_when_full_is_one_of_two() -> None:
    check_when_full("wait")
    check_when_full("raise")
    with pytest.raises(InvalidArgument, match="when_full='block': give 'wait' or 'raise'"):
        check_when_full("block")


def test_a_token_is_taken_as_such_or_as_text_and_a_receipt_is_none() -> None:
    assert token_of(TOKEN) == token_of(str(TOKEN)) == TOKEN
    with pytest.raises(InvalidArgument, match="is no token: give the `token` of a receipt"):
        token_of(Receipt("c-1", "w-1", 1, TOKEN))
    for text in ("", "nonsense", "ö", str(TOKEN)[:10], str(TOKEN)[1:]):
        with pytest.raises(InvalidArgument, match="token"):
            token_of(text)


def test_an_empty_trail_costs_nothing() -> None:
    assert trail_of("", "", "", None) is EMPTY_TRAIL
    assert trail_of("", "", "ada", {"a": "b"}).metadata == {"a": "b"}


def test_a_uuid_and_its_text_are_one_aggregate() -> None:
    assert key_of(Wallet, UUID(int=7)) == key_of(Wallet, str(UUID(int=7)))
