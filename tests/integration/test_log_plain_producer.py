"""What becomes of a producer that librdkafka has given up, and of one whose broker is silent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from eventsource.errors import LogError
from eventsource.log.client_config import producer_config
from eventsource.log.plain_producer import PlainProducer
from eventsource.log.serving import flush, is_fatal, poll
from tests.integration.fatal_errors import fail_for_good

NOWHERE = {"bootstrap.servers": "127.0.0.1:1"}


class Connections:
    """The producers that were made, and what was reported of their records."""

    def __init__(self) -> None:
        self.made: list[Producer] = []
        self.reported: list[str | None] = []
        self.now = 0.0

    def connect(self) -> Producer:
        self.made.append(Producer(producer_config(NOWHERE)))
        return self.made[-1]

    def report(self, error: KafkaError | None, _: Message) -> None:
        self.reported.append(error and error.name())

    def produce(self, producer: PlainProducer) -> None:
        producer.produce("t", 0, b"key", b"value", self.report)


@pytest.fixture
def connections() -> Connections:
    return Connections()


@pytest.fixture
def producer(connections: Connections) -> Iterator[PlainProducer]:
    producer = PlainProducer(connections.connect, monotonic=lambda: connections.now)
    yield producer
    producer.close(0)


@pytest.mark.parametrize("serve", [poll, flush])
@pytest.mark.parametrize("told_first", [True, False])
def test_a_fatal_error_is_an_exception_in_whatever_form_it_comes(serve: Any, *, told_first: bool) -> None:
    told: list[str] = []
    for _ in range(5):
        producer = Producer({**producer_config(NOWHERE), "error_cb": lambda error: told.append(error.name())})
        producer.produce("t", b"value", partition=0)
        if told_first:
            time.sleep(0.05)  # errors before it, and with luck behind it too
        fail_for_good(producer)
        time.sleep(0.1)
        with pytest.raises(KafkaException) as caught:
            serve(producer, 0.3)
        assert is_fatal(caught.value)


def test_a_producer_that_met_a_fatal_error_is_replaced_and_its_records_are_reported(
    producer: PlainProducer, connections: Connections
) -> None:
    connections.produce(producer)
    fail_for_good(connections.made[0])
    producer.poll()
    assert len(connections.made) == 2
    assert connections.reported == ["_PURGE_QUEUE"]
    connections.produce(producer)
    assert len(connections.made) == 2


def test_who_meets_it_first_is_served_by_the_next_one(producer: PlainProducer, connections: Connections) -> None:
    connections.produce(producer)
    fail_for_good(connections.made[0])
    connections.produce(producer)
    assert len(connections.made) == 2
    assert connections.reported == []  # reports are for the thread that polls
    producer.poll()
    assert connections.reported == ["_PURGE_QUEUE"]


def test_an_error_that_comes_back_does_not_make_producers_without_end(
    producer: PlainProducer, connections: Connections
) -> None:
    for _ in range(2):
        fail_for_good(connections.made[-1])
        producer.poll()
    assert len(connections.made) == 2
    with pytest.raises(KafkaException):
        connections.produce(producer)
    connections.now += 1.0
    connections.produce(producer)
    assert len(connections.made) == 3


def test_what_is_queued_when_it_is_closed_is_reported(producer: PlainProducer, connections: Connections) -> None:
    connections.produce(producer)
    began = time.monotonic()
    assert producer.close(0.2) == 1
    assert time.monotonic() - began < 5
    assert connections.reported == ["_PURGE_QUEUE"]
    assert len(producer) == 0
    producer.poll()
    producer.close(0.2)
    with pytest.raises(LogError, match="closed"):
        connections.produce(producer)


def test_it_can_be_closed_after_a_fatal_error(producer: PlainProducer, connections: Connections) -> None:
    connections.produce(producer)
    fail_for_good(connections.made[0])
    producer.close(0.2)
    assert connections.reported == ["_PURGE_QUEUE"]
