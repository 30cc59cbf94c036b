"""Sending replies: after the commit, outside every transaction, by one plain idempotent producer of the worker.

In the transaction they would wait for every other owner's open transaction in the replies partition, and could not know
where their events stand. A reply that is lost is an unknown outcome: the same command sent again is answered from the log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from confluent_kafka import KafkaError, Message, Producer

from eventsource.commands.reply import Reply
from eventsource.log.client_config import producer_config

_log = structlog.get_logger("eventsource.replies")


class ReplySender:
    """Safe to share between the owners of a worker."""

    def __init__(self, client_config: Mapping[str, Any], topic: str) -> None:
        self._topic = topic
        self._producer = Producer({**producer_config(client_config), "delivery.report.only.error": True})

    def send(self, replies: Sequence[tuple[int, bytes, Reply]]) -> None:
        """Sends replies, each to a partition of the replies topic under a client's id. Never blocks for long, never raises."""
        for partition, client_id, reply in replies:
            try:
                self._producer.produce(self._topic, reply.encode(), client_id, partition, on_delivery=_report_loss)
            except Exception as error:  # noqa: BLE001 - the command is committed: a reply that is lost must not undo its owner
                self._producer.poll(0.1)
                _log.warning("reply_not_sent", command_id=reply.command_id, error=str(error))
        self._producer.poll(0)

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Sends what waits, for at most `timeout_seconds`."""
        self._producer.flush(timeout_seconds)
        self._producer.close()


def _report_loss(error: KafkaError | None, _message: Message) -> None:
    if error is not None:
        _log.warning("reply_not_delivered", error=error.str())
