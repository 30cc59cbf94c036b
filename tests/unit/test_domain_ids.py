"""The form that an aggregate declares for its ids: what it takes, and who checks it."""

from __future__ import annotations

from typing import Any, Self
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventsource import Aggregate, App, Command, Event, IdForm, creates
from eventsource.commands.aggregate_codecs import AggregateCodecs
from eventsource.commands.arguments import key_of, key_of_any
from eventsource.commands.handling import CommandHandling
from eventsource.commands.reply import Reply
from eventsource.commands.status import Status
from eventsource.domain.fingerprint import evolve_fingerprint
from eventsource.errors import DefinitionError, InvalidArgument
from eventsource.log.headers import CommandHeaders, command_headers
from eventsource.log.record import Record
from eventsource.schemas import MemorySchemaStore, MessageCodec
from eventsource.testing import TestApp
from tests.creatable import Creatable

IDENTITY = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
FORMS: list[tuple[Any, list[str], list[tuple[str, str]]]] = [
    (
        UUID,
        [IDENTITY],
        [
            (IDENTITY.upper(), "is no UUID in canonical form"),
            (IDENTITY.replace("-", ""), "is no UUID"),
            (f"{{{IDENTITY}}}", "is no UUID"),
            (f"{IDENTITY}\n", "is no UUID"),
            ("7", "is no UUID"),
        ],
    ),
    (
        int,
        ["0", "7", "-1", str(2**63 - 1), str(-(2**63))],
        [
            ("007", "is no whole number in plain form"),
            ("-0", "is no whole number"),
            ("+1", "is no whole number"),
            ("1_0", "is no whole number"),
            ("٧", "is no whole number"),
            (" 7", "is no whole number"),
            ("7.0", "is no whole number"),
            ("9" * 1_000, "is no whole number"),
            (str(2**63), "is a number of more than 64 bits"),
            (str(-(2**63) - 1), "is a number of more than 64 bits"),
        ],
    ),
    (
        r"[A-Z]{2}-[0-9]+",
        ["AB-1"],
        [("xAB-1", "does not match '[A-Z]{2}-[0-9]+'"), ("AB-1\n", "does not match"), ("AB-1x", "does not match")],
    ),
    (
        IdForm(pattern="[a-z]+", max_length=3),
        ["abc"],
        [("abcd", "has 4 characters, 3 are allowed"), ("ab1", "does not match '[a-z]+'")],
    ),
    (IdForm(max_length=2), ["éé", "a"], [("abc", "has 3 characters, 2 are allowed: give a shorter one")]),
    (str, ["anything at all"], []),
]


class Open(Command, name="open"):
    pass


class Opened(Event, name="opened"):
    pass


def aggregate(ids: Any) -> Any:
    class Box(Aggregate, name="box", ids=ids):
        @creates
        @classmethod
        def open(cls, command: Open) -> Opened:
            return Opened()

        @creates
        @classmethod
        def on_opened(cls, event: Opened) -> Self:
            return cls()

    return Box


def status(box: Any, aggregate_id: str) -> tuple[Status, str]:
    """What an owner answers to a command by another producer, who checks nothing."""
    app = App("shop", aggregates=[box], partitions=1)
    schemas = MemorySchemaStore()
    handling = CommandHandling(
        app,
        box,
        0,
        names=app.names(),
        commands_topic_id=bytes(16),
        codecs=AggregateCodecs(box, schemas),
        window_ms=None,
        max_event_bytes=900_000,
    )
    headers = command_headers(CommandHeaders("c-1", "open", "/x", 0, reply_partition=0, client_id=b"c" * 16))
    value = MessageCodec(Open, "open", schemas).encode(Open())
    handled = handling.handle([Record("shop.box.commands", 0, 0, 0, aggregate_id.encode(), value, headers)])
    handling.commit(handled, list(range(len(handled.records))))
    ((_, _, data),) = handling.replies(handled)
    (reply,) = Reply.decode_all(data)
    return reply.status, reply.details


@pytest.mark.parametrize(("ids", "good", "bad"), FORMS, ids=[str(ids) for ids, _, _ in FORMS])
def test_client_test_app_and_owner_take_ids_of_the_declared_form_and_no_others(
    ids: Any, good: list[str], bad: list[tuple[str, str]]
) -> None:
    box = aggregate(ids)
    for aggregate_id in good:
        assert key_of(box, aggregate_id) == aggregate_id.encode()
        assert TestApp(App("shop", aggregates=[box])).send(box, aggregate_id, Open()).version == 1
        assert status(box, aggregate_id)[0] is Status.ACCEPTED
    for aggregate_id, reason in bad:
        app = TestApp(App("shop", aggregates=[box]))
        for call in (
            lambda id_=aggregate_id: key_of(box, id_),
            lambda id_=aggregate_id, app=app: app.send(box, id_, Open()),
            lambda id_=aggregate_id, app=app: app.append(box, id_, [Opened()], expected_version=0),
            lambda id_=aggregate_id, app=app: app.load(box, id_),
        ):
            with pytest.raises(InvalidArgument) as refused:
                call()
            assert "of aggregate 'box'" in str(refused.value)
            assert reason in str(refused.value)
            assert len(str(refused.value)) < 250
        assert app.events() == []
        answered, details = status(box, aggregate_id)
        assert answered is Status.FAILED
        assert "of aggregate 'box'" in details


@given(st.text(max_size=40) | st.integers().map(str) | st.uuids().map(str))
def test_a_number_or_uuid_comes_back_from_an_id_of_that_form(text: str) -> None:
    if IdForm(int).fault_of(text) is None:
        assert str(int(text)) == text
    if IdForm(UUID).fault_of(text) is None:
        assert str(UUID(text)) == text


@given(st.integers(-(2**63), 2**63 - 1), st.uuids())
def test_every_number_of_64_bits_and_every_uuid_is_of_its_form(number: int, identity: UUID) -> None:
    assert IdForm(int).fault_of(str(number)) is None
    assert IdForm(UUID).fault_of(str(identity)) is None


def test_a_uuid_object_is_of_the_form_uuid() -> None:
    box, identity = aggregate(UUID), uuid4()
    assert key_of(box, identity) == str(identity).encode()


def test_tools_read_what_is_older_than_the_form() -> None:
    assert key_of_any("7") == b"7"
    with pytest.raises(InvalidArgument):
        key_of(aggregate(UUID), "7")


def test_a_form_is_inherited_and_may_be_replaced() -> None:
    class Base(Creatable, abstract=True, ids=UUID):
        pass

    class Same(Base, name="same"):
        pass

    class Other(Base, name="other", ids=int):
        pass

    class Free(Base, name="free", ids=str):
        pass

    assert Same.__definition__.ids == IdForm(UUID)
    assert Other.__definition__.ids == IdForm(int)
    assert Free.__definition__.ids == IdForm()
    assert Creatable.__id_form__ is None


def test_a_form_changes_no_state() -> None:
    assert evolve_fingerprint(aggregate(UUID)) == evolve_fingerprint(aggregate(int))


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        (UUID(int=1), r"aggregate .*Box has ids=UUID\(.*\): give UUID, int, a regular expression"),
        (float, r"has ids=<class 'float'>: give UUID"),
        (bool, r"has ids=<class 'bool'>: give UUID"),
        (7, r"has ids=7: give UUID"),
        ("[a-z", r"Box: IdForm\(pattern='\[a-z'\) is no regular expression"),
    ],
)
def test_what_is_no_form_is_refused_with_the_class(ids: Any, text: str) -> None:
    with pytest.raises(DefinitionError, match=text):
        aggregate(ids)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: IdForm(float), r"IdForm\(<class 'float'>\): an id is a str, an int or a UUID"),  # type: ignore[arg-type]
        (lambda: IdForm(UUID, max_length=3), r"describe ids of type str: leave them out"),
        (lambda: IdForm(int, pattern="x"), r"describe ids of type str"),
        (lambda: IdForm(max_length=0), r"max_length=0\): give a whole number from 1 to 1024"),
        (lambda: IdForm(max_length=True), r"max_length=True"),
        (lambda: IdForm(max_length=1_025), r"from 1 to 1024"),
        (lambda: IdForm(pattern=b"x"), r"is no regular expression"),  # type: ignore[arg-type]
    ],
)
def test_a_form_that_cannot_be_is_refused(make: Any, text: str) -> None:
    with pytest.raises(DefinitionError, match=text):
        make()


def test_a_form_says_what_it_is() -> None:
    assert repr(IdForm(pattern="[a-z]+", max_length=3)) == "IdForm(pattern='[a-z]+', max_length=3)"
    assert repr(IdForm(UUID)) == "IdForm(UUID)"
    assert len({IdForm(), IdForm(str), IdForm(max_length=3)}) == 2
