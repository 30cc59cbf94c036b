"""The producer of a client: commands on their way into the log, in a queue that is bounded in number and bytes."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import structlog
from confluent_kafka import KafkaError, KafkaException, Message

from eventsource.clock import Clock
from eventsource.errors import Backlogged, BrokerUnavailable, ClientClosed, EventSourceError, LogError, MessageTooLarge
from eventsource.log.client_config import producer_config
from eventsource.log.kafka_clients import KafkaProducer
from eventsource.log.kafka_errors import TOO_LARGE, translate
from eventsource.log.plain_producer import PlainProducer
from eventsource.log.record import Outgoing
from eventsource.log.serving import is_fatal

_log = structlog.get_logger("eventsource.client")
_QUEUED_KILOBYTES: Final = 65_536
# A broker works off a connection's requests one by one. While it does one, the next is on its way; a third would only wait at the
# broker, and so leave with fewer commands in it. The broker's time is what a client at a steady rate has least of.
_IN_FLIGHT_REQUESTS: Final = 2
_LOOK_AGAIN_SECONDS: Final = 0.05


class CommandSender:
    """Safe to share between threads. Commands of one thread are sent in the order of its calls.

    The queue holds as many commands as the client may have in flight, and 64 MiB, unless the client's settings name
    `queue.buffering.max.messages` or `queue.buffering.max.kbytes`. While no broker takes them, it may be full of commands whose
    requests have expired.
    """

    def __init__(self, producer: PlainProducer, clock: Clock, bootstrap_servers: str = "") -> None:
        self._producer = producer
        self._bootstrap = bootstrap_servers
        self._clock = clock
        self._closed = False
        self._served = threading.Condition()
        self._lost: Counter[str] = Counter()

    @classmethod
    def connect(cls, client_config: Mapping[str, Any], *, max_messages: int, clock: Clock) -> CommandSender:
        """A sender with a producer of its own."""
        config = {
            "queue.buffering.max.messages": max_messages,
            "queue.buffering.max.kbytes": _QUEUED_KILOBYTES,
            **producer_config({"max.in.flight.requests.per.connection": _IN_FLIGHT_REQUESTS, **client_config}),
            "delivery.report.only.error": True,
        }
        producer = PlainProducer(lambda: KafkaProducer(config), monotonic=clock.monotonic)
        return cls(producer, clock, str(client_config.get("bootstrap.servers", "")))

    def send(self, command: Outgoing, undelivered: Callable[[], None], deadline: float, *, wait: bool) -> None:
        """Queues a command. `undelivered` is called, in the thread that serves, if it may not have reached the log.

        While the queue is full it waits until `deadline`, on the clock's monotonic time, or with `wait=False` not at all. Raises
        `Backlogged`, `MessageTooLarge`, `ClientClosed` or `LogError`, and the command was not sent.
        """
        reported = partial(self._reported, undelivered)
        while not self._produce(command, reported):
            left_seconds = deadline - self._clock.monotonic()
            if not wait or left_seconds <= 0:
                raise Backlogged(len(self._producer))
            if self._closed:
                raise _closed()
            # Not by polling here: delivery reports call the caller's callbacks, which he expects in the client's thread alone.
            with self._served:
                self._served.wait(min(left_seconds, _LOOK_AGAIN_SECONDS))

    def _reported(self, undelivered: Callable[[], None], error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._lost[error.name()] += 1
            undelivered()

    def _produce(self, command: Outgoing, reported: Callable[[KafkaError | None, Message], None]) -> bool:
        """Whether there was room in the queue."""
        topic, partition, key, value, headers = command
        try:
            self._producer.produce(topic, partition, key, value, reported, headers)
        except BufferError:
            return False
        except Exception as error:
            raise self._not_sent(command, error) from error
        return True

    def _not_sent(self, command: Outgoing, error: Exception) -> EventSourceError:
        if isinstance(error, KafkaException) and error.args[0].code() in TOO_LARGE:
            return MessageTooLarge(
                f"the command takes {command.size_bytes} bytes, more than the broker accepts: store what is large elsewhere and keep a "
                "reference in the command"
            )
        if self._closed:
            return _closed()
        if isinstance(error, KafkaException):
            if is_fatal(error):
                return BrokerUnavailable(
                    f"the command was not sent ({error}): librdkafka gave its producer up, another one takes its place within a "
                    "second: send it again"
                )
            return translate(error.args[0], "sending a command, which was not sent", self._bootstrap)
        return LogError(f"the command was not sent: {error}: send it again")

    def serve(self) -> None:
        """Takes delivery reports in. To be called often, by one thread: a queue of which nobody takes reports stays full."""
        self._producer.poll()
        with self._served:
            self._served.notify_all()
        self._tell_lost()

    def _tell_lost(self) -> None:
        if self._lost:
            lost, self._lost = self._lost, Counter()
            _log.warning("commands_not_delivered", errors=dict(lost))

    def flush(self, timeout_seconds: float) -> None:
        """Sends what is queued, for at most so long, and takes no more."""
        self._closed = True
        self._producer.flush(timeout_seconds)

    def close(self) -> None:
        """Lets go of the connections, and of what is still queued: nobody knows whether it reaches the log."""
        self._closed = True
        self._producer.close(0.0)
        self._tell_lost()


def _closed() -> ClientClosed:
    return ClientClosed("this client is closed: connect again with app.connect()")
