"""What a client refuses before anything is sent. What is refused, and with which text, is in `tests/unit/test_commands_arguments.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from eventsource.commands.client import Client
from eventsource.domain import Command
from eventsource.errors import DefinitionError, InvalidArgument
from eventsource.log.topics import apply
from eventsource.settings import Settings
from tests.integration.client.accounts import APP, ONE, Account, Open, versions


class Foreign(Command, name="foreign"):
    pass


OPEN = Open(owner="Ada")
REFUSED: list[Callable[[Any], object]] = [
    lambda client: client.send("account", "acc-1", OPEN),
    lambda client: client.send(Account, None, OPEN),
    lambda client: client.send(Account, "acc-1", {"owner": "Ada"}),
    lambda client: client.send(Account, "acc-1", ONE),
    lambda client: client.send(Account, "acc-1", OPEN, expected_version=True),
    lambda client: client.send(Account, "acc-1", OPEN, command_id=5),
    lambda client: client.send(Account, "acc-1", OPEN, sent_at="today"),
    lambda client: client.send(Account, "acc-1", OPEN, timeout=-1),
    lambda client: client.send(Account, "acc-1", OPEN, actor=5),
    lambda client: client.submit(Account, "acc-1", OPEN, when_full="block"),
    lambda client: client.append("account", "acc-1", [ONE], expected_version=0),
    lambda client: client.append(Account, b"z", [ONE], expected_version=0),
    lambda client: client.append(Account, "acc-1", [], expected_version=0),
    lambda client: client.append(Account, "acc-1", [ONE], expected_version=None),
    lambda client: client.append(Account, "acc-1", [ONE], expected_version=0, command_id=5),
    lambda client: client.append(Account, "acc-1", [ONE], expected_version=0, metadata={"n": 1}),
    lambda client: client.submit_append(Account, "acc-1", [ONE], expected_version=0, when_full="block"),
    lambda client: client.load("account", "acc-1"),
    lambda client: client.load("account", "acc-1", at_version=1),
    lambda client: client.load(Account, None),
    lambda client: client.load(Account, None, at_version=1),
    lambda client: client.load(Account, "acc-1", timeout=-1),
    lambda client: client.load(Account, "acc-1", at_version=1.5),
    lambda client: client.submit_load(Account, "acc-1", when_full="block"),
    *(
        partial(lambda client, text: client.send(Account, text, OPEN), text=text)
        for text in ("", "a\0b", "a\ud800", "x" * 1_025)
    ),
    *(
        partial(lambda client, texts: client.send(Account, "acc-1", OPEN, **texts), texts=texts)
        for texts in (
            {"command_id": "a\0"},
            {"command_id": "\udfff"},
            {"command_id": "x" * 1_025},
            {"actor": "a\0"},
            {"actor": "\ud800"},
            {"actor": "x" * 65_536},
            {"correlation_id": "a\0"},
            {"causation_id": "\ud800"},
            {"metadata": {"a\0": "b"}},
            {"metadata": {"a": "\ud800"}},
            {"timeout": float("inf")},
        )
    ),
    lambda client: client.append(Account, "a\0b", [ONE], expected_version=0),
    lambda client: client.load(Account, "a\0b"),
    lambda client: client.load(Account, "a\0b", at_version=1),
    lambda client: client.load(Account, "acc-1", timeout=float("inf")),
    lambda client: client.read(Account),
    lambda client: client.wait_for("token", {}),
]


@pytest.fixture
def unanswered(settings: Settings) -> Iterator[Client]:
    apply(APP, settings)
    with APP.connect(settings) as client:  # no worker runs: what is sent would find no answer
        yield client


def test_what_cannot_be_meant_is_refused_and_nothing_is_sent(unanswered: Client, settings: Settings) -> None:
    for call in REFUSED:
        with pytest.raises(InvalidArgument):
            call(unanswered)
    with pytest.raises(DefinitionError, match="Foreign is no command of 'account'"):
        unanswered.send(Account, "acc-1", Foreign())
    assert len(unanswered._connection.channel._requests.in_flight) == 0
    assert versions(settings) == {}
