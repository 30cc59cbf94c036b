"""Sending replies: after the commit, outside every transaction, by one plain idempotent producer of the worker.

In the transaction they would wait for every other owner's open transaction in the replies partition, and could not know
where their events stand. A reply that is lost is an unknown outcome: the same command sent again is answered from the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import structlog
from confluent_kafka import KafkaError, Message, Producer

from eventsource.log.client_config import producer_config
from eventsource.log.kafka_clients import KafkaProducer
from eventsource.log.plain_producer import PlainProducer

_log = structlog.get_logger("eventsource.replies")


_QUEUE_KILOBYTES: Final = (
    65_536  # replies that no broker takes are lost beyond this, and their commands asked for again
)
_RECORD_BYTES: Final = (
    32_768  # replies to one client travel together up to this size, which brokers and clients take at ease
)
_FULL_SECONDS: Final = 0.1


class ReplySender:
    """Safe to share between the owners of a worker."""

    def __init__(self, client_config: Mapping[str, Any], topic: str) -> None:
        self._topic = topic
        self._config = {
            **producer_config({"queue.buffering.max.kbytes": _QUEUE_KILOBYTES, **client_config}),
            "delivery.report.only.error": True,
        }
        self._producer = PlainProducer(self._connect)

    def _connect(self) -> Producer:
        return KafkaProducer(self._config)

    def send(self, replies: Iterable[tuple[int, bytes, bytes]]) -> None:
        """Sends replies: partition of the replies topic, client id, bytes of a `Reply`. Never blocks for long, never raises.

        Those to one client are joined: a record costs as much as ten replies.
        """
        waiting: dict[tuple[int, bytes], list[bytes]] = {}
        for partition, client_id, reply in replies:
            address = partition, client_id
            joined = waiting.get(address)
            if joined is None:
                waiting[address] = [reply]
            else:
                joined.append(reply)
        for address, joined in waiting.items():
            for record in _records(joined):
                self._produce(address, record)
        self._serve(0.0)

    def _produce(self, address: tuple[int, bytes], record: bytes) -> None:
        partition, client_id = address
        try:
            self._producer.produce(self._topic, partition, client_id, record, _report_loss)
        except Exception as error:  # noqa: BLE001 - the commands are committed: a reply that is lost must not undo their owner
            self._serve(_FULL_SECONDS)
            _log.warning("replies_not_sent", size_bytes=len(record), error=str(error))

    def _serve(self, timeout_seconds: float) -> None:
        try:
            self._producer.poll(timeout_seconds)
        except Exception as error:  # noqa: BLE001 - likewise
            _log.warning("replies_not_served", error=str(error))

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Sends what waits, for at most `timeout_seconds`, and drops the rest. What is sent later is dropped too."""
        left = self._producer.close(timeout_seconds)
        if left:
            _log.warning("replies_dropped", records=left)


def _report_loss(error: KafkaError | None, _message: Message) -> None:
    if error is not None:
        _log.warning("replies_not_delivered", error=error.str())


def _records(replies: Sequence[bytes]) -> Iterator[bytes]:
    start = size = 0
    for index, reply in enumerate(replies):
        size += len(reply)
        if size > _RECORD_BYTES and index > start:
            yield b"".join(replies[start:index])
            start, size = index, len(reply)
    yield b"".join(replies[start:])
