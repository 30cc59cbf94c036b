from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from structlog.testing import capture_logs

from eventsource.clock import SystemClock
from eventsource.commands.sender import CommandSender
from eventsource.errors import (
    AccessDenied,
    Backlogged,
    BrokerUnavailable,
    ClientClosed,
    LogError,
    MessageTooLarge,
    TopicMissing,
)
from eventsource.log.plain_producer import PlainProducer
from eventsource.log.record import Outgoing

COMMAND = Outgoing("bank.account.commands", 0, b"acc-1", b"value", [])


class Queue:
    """Stands for a producer: a queue with so many places, which `poll` empties."""

    def __init__(self, places: int) -> None:
        self.places = places
        self.queued: list[bytes] = []
        self.sent: list[bytes] = []
        self.error: Exception | None = None
        self.undeliverable: KafkaError | None = None
        self.reports: list[Callable[[KafkaError | None, Any], None]] = []
        self.polled_by: set[int] = set()
        self.asked = 0

    def produce(self, topic: str, value: bytes, key: bytes, partition: int, *, on_delivery: Any, headers: Any) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error
        if len(self.queued) >= self.places:
            raise BufferError("Local: Queue full")
        self.queued.append(value)
        self.reports.append(on_delivery)

    def poll(self, timeout: float) -> int:
        self.polled_by.add(threading.get_ident())
        reports, self.reports = self.reports, []
        self.sent += self.queued
        self.queued = []
        for report in reports:
            report(self.undeliverable, None)
        return len(reports)

    def flush(self, timeout: float) -> int:
        return self.poll(timeout)

    def purge(self) -> None:
        self.undeliverable = KafkaError(KafkaError._PURGE_QUEUE)

    def __len__(self) -> int:
        return len(self.queued)


class Stuck(Queue):
    """A queue that is emptied by `purge` alone."""

    def poll(self, timeout: float) -> int:
        return super().poll(timeout) if self.undeliverable is not None else 0


def sender_of(queue: Queue) -> CommandSender:
    def connect() -> Any:
        return queue

    return CommandSender(PlainProducer(connect), SystemClock())


def send(sender: CommandSender, value: bytes = b"value", *, wait: bool = True, seconds: float = 30.0) -> None:
    sender.send(COMMAND._replace(value=value), lambda: None, SystemClock().monotonic() + seconds, wait=wait)


def test_a_full_queue_is_waited_for_and_nothing_is_lost_or_overtaken() -> None:
    queue = Queue(3)
    sender = sender_of(queue)
    values = [b"%d" % number for number in range(50)]
    thread = threading.Thread(target=lambda: [send(sender, value) for value in values])
    thread.start()
    while thread.is_alive():
        sender.serve()
        thread.join(0.001)
    sender.serve()
    assert queue.sent == values
    assert queue.polled_by == {threading.get_ident()}  # callbacks run in the thread that serves, never in a sender's


def test_a_full_queue_is_told_to_those_who_will_not_wait() -> None:
    queue = Queue(1)
    sender = sender_of(queue)
    send(sender, wait=False)
    with pytest.raises(Backlogged) as told:
        send(sender, b"late", wait=False)
    assert queue.asked == 2
    assert told.value.in_flight == 1
    with pytest.raises(Backlogged):
        send(sender, b"late", seconds=0.01)
    sender.serve()
    assert queue.sent == [b"value"]


def test_who_waits_for_the_queue_is_told_of_the_end() -> None:
    queue = Queue(0)
    sender = sender_of(queue)
    told: list[type[Exception]] = []

    def wait() -> None:
        try:
            send(sender)
        except ClientClosed as error:
            told.append(type(error))

    thread = threading.Thread(target=wait)
    thread.start()
    sender.flush(0)
    thread.join(10)
    assert told == [ClientClosed]


def test_what_could_not_be_delivered_is_reported_once_each() -> None:
    queue = Queue(10)
    queue.undeliverable = KafkaError(KafkaError._MSG_TIMED_OUT)
    sender = sender_of(queue)
    lost: list[int] = []
    for number in range(3):
        sender.send(COMMAND, lambda number=number: lost.append(number), 0, wait=False)  # type: ignore[misc]
    sender.serve()
    sender.serve()
    assert lost == [0, 1, 2]


@pytest.mark.parametrize(
    ("error", "expected", "text"),
    [
        (KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)), MessageTooLarge, "takes 10 bytes"),
        (KafkaException(KafkaError(KafkaError.RECORD_LIST_TOO_LARGE)), MessageTooLarge, "takes 10 bytes"),
        (KafkaException(KafkaError(KafkaError._UNKNOWN_PARTITION)), TopicMissing, "was not sent"),
        (KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)), AccessDenied, "was not sent"),
        (KafkaException(KafkaError(KafkaError._MSG_TIMED_OUT)), BrokerUnavailable, "was not sent"),
        (KafkaException(KafkaError(KafkaError._FATAL, "fenced", True)), BrokerUnavailable, "send it again"),
        (KafkaException(KafkaError(KafkaError._STATE)), LogError, "was not sent"),
    ],
)
def test_what_cannot_be_queued_raises_what_to_do(error: Exception, expected: type[Exception], text: str) -> None:
    queue = Queue(1)
    queue.error = error
    with pytest.raises(expected, match=text):
        send(sender_of(queue))


def test_a_closed_producer_is_a_closed_client() -> None:
    queue = Queue(1)
    sender = sender_of(queue)
    sender.close()
    with pytest.raises(ClientClosed):
        send(sender)


def test_what_is_still_queued_at_the_end_is_reported_as_lost() -> None:
    queue = Stuck(10)
    sender = sender_of(queue)
    lost: list[int] = []
    sender.send(COMMAND, lambda: lost.append(1), 0, wait=False)
    sender.flush(0)
    assert lost == []
    with capture_logs() as logs:
        sender.close()
    assert lost == [1]
    assert logs == [
        {"event": "commands_not_delivered", "log_level": "warning", "errors": {"_PURGE_QUEUE": 1}},
    ]


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, (50, 65_536)),
        ({"queue.buffering.max.messages": "7", "queue.buffering.max.kbytes": "8"}, ("7", "8")),
    ],
)
def test_the_queue_is_as_large_as_what_may_be_in_flight_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, own: dict[str, str], expected: tuple[object, object]
) -> None:
    made: list[dict[str, Any]] = []
    monkeypatch.setattr("eventsource.commands.sender.KafkaProducer", made.append)
    CommandSender.connect({"bootstrap.servers": "nowhere:1", **own}, max_messages=50, clock=SystemClock())
    (config,) = made
    assert (config["queue.buffering.max.messages"], config["queue.buffering.max.kbytes"]) == expected
    assert config["enable.idempotence"]
