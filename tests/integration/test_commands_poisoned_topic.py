"""Commands that only others than the framework's client can write: the owner gets past them, in this life and the next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

import pytest
from confluent_kafka import Producer

from eventsource.app import App
from eventsource.commands.dead_letters import DEAD_LETTER_HEADER
from eventsource.domain import Aggregate, Command, Event, applies, creates, decides, invariant
from eventsource.errors import HandlerFailed
from eventsource.log.headers import CommandHeaders, Trail, command_headers
from eventsource.log.partitioner import short_key
from eventsource.log.topics import apply
from eventsource.schemas import MemorySchemaStore, MessageCodec
from eventsource.settings import ClientSettings, KafkaSettings, Settings, WorkerSettings
from tests.integration.command_threads import WorkerThread, read_topic

# Of the broker's 1,048,588 bytes the key alone takes so many that a copy of it, with more headers, does not fit.
LONG_KEY = b"k" * 1_048_300
HEADERS = command_headers(CommandHeaders("c-1", "add", "/t", 0))


class Add(Command, name="add"):
    item: str


class Made(Event, name="made"):
    items: list[str]


class Added(Event, name="added"):
    item: str


class Basket(Aggregate, name="basket"):
    items: list[str]

    @creates
    @classmethod
    def begin(cls, command: Add) -> Made:
        return Made(items=[command.item])

    @creates
    @classmethod
    def on_made(cls, event: Made) -> Self:
        return cls(items=event.items)

    @decides
    def add(self, command: Add) -> Added:
        return Added(item=command.item)

    @applies
    def on_added(self, event: Added) -> None:
        self.items.append(event.item)

    @invariant
    def is_small(self) -> bool:
        return len(self.items) < 4


APP = App("shop", aggregates=[Basket], partitions=1)


@pytest.fixture
def settings(eventsource_stack: Any, eventsource_namespace: str, tmp_path: Path) -> Settings:
    made = Settings(
        _env_file=None,
        namespace=eventsource_namespace,
        kafka=KafkaSettings(bootstrap_servers=eventsource_stack.bootstrap_servers),
        client=ClientSettings(timeout_seconds=30),
        worker=WorkerSettings(state_dir=tmp_path / "stores"),
    )
    apply(APP, made)
    return made


def test_an_owner_gets_past_records_that_cannot_be_used(settings: Settings) -> None:
    names = APP.names(settings.namespace)
    producer = Producer({**settings.kafka.client_config(), "message.max.bytes": 2_000_000})
    stray: list[tuple[str, Any]] = [("x-tenant", None)]
    producer.produce(names.commands("basket"), b"value", b"b", 0, headers=stray)
    producer.produce(names.commands("basket"), b"", LONG_KEY, 0, headers=[*HEADERS])
    producer.produce(names.commands("basket"), None, b"b", 0, headers=[(name, None) for name, _ in HEADERS])
    assert producer.flush(10) == 0
    for version in (1, 2):
        with WorkerThread(APP, Basket, settings), APP.connect(settings) as client:
            assert client.send(Basket, "b", Add(item="x")).version == version
    outcomes = read_topic(settings, names.outcomes("basket"), 1)
    letters = read_topic(settings, names.dead_letters("basket"), 1)
    assert (
        [record.key for record in outcomes] == [record.key for record in letters] == [b"b", short_key(LONG_KEY), b"b"]
    )
    told = [json.loads(dict(letter.headers)[DEAD_LETTER_HEADER] or b"") for letter in letters]
    assert [(each["offset"], each["complete"]) for each in told] == [(0, True), (1, False), (2, True)]


def test_texts_that_no_row_can_hold_fail_their_command_and_no_event_is_written(settings: Settings) -> None:
    names = APP.names(settings.namespace)
    value = MessageCodec(Add, "add", MemorySchemaStore()).encode(Add(item="x"))
    foreign = [
        (b"a\0b", CommandHeaders("c-1", "add", "/t", 0)),
        (b"b", CommandHeaders("c\0", "add", "/t", 0)),
        (b"b", CommandHeaders("c-3", "add", "/t", 0, trail=Trail(actor="a\0"))),
        (b"b", CommandHeaders("c-4", "add", "/t", 0, trail=Trail(metadata={"a\0": ""}))),
    ]
    producer = Producer(settings.kafka.client_config())
    for key, headers in foreign:
        producer.produce(names.commands("basket"), value, key, 0, headers=command_headers(headers))
    assert producer.flush(10) == 0
    for version in (1, 2):  # and its successor has got past them too
        with WorkerThread(APP, Basket, settings), APP.connect(settings) as client:
            assert client.send(Basket, "b", Add(item="x")).version == version
    assert len(read_topic(settings, names.events("basket"), 1)) == 2
    letters = read_topic(settings, names.dead_letters("basket"), 1)
    assert [json.loads(dict(letter.headers)[DEAD_LETTER_HEADER] or b"")["error"] for letter in letters] == [
        "HeaderError"
    ] * 4
    assert [letter.key for letter in letters] == [key for key, _ in foreign]


def test_an_owner_answers_from_what_is_in_the_log_after_a_command_of_a_batch_failed(settings: Settings) -> None:
    with APP.connect(settings) as client:
        # There before the owner is: they become one batch, whose last command fails.
        pending = [client.submit(Basket, "b", Add(item=item)) for item in "abcd"]
        with WorkerThread(APP, Basket, settings):
            assert [each.result().version for each in pending[:3]] == [1, 2, 3]
            with pytest.raises(HandlerFailed):
                pending[3].result()
            assert client.load(Basket, "b").state == client.load(Basket, "b", at_version=3).state
        with WorkerThread(APP, Basket, settings):
            assert client.load(Basket, "b").state == Basket(items=["a", "b", "c"])
