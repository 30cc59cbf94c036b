"""The records of events, one by one."""

from __future__ import annotations

from eventsource.log.headers import event_es, event_id, fact_headers
from eventsource.log.record import Outgoing, Record


class EventRecords:
    """Makes the records of one partition's events. `native_event_records` has the same in machine code.

    `topic` and `partition` are where they are written to, `source` is what `source_header` made, and `topic_id` is that of the
    commands topic.
    """

    def __init__(self, topic: str, partition: int, source: tuple[str, bytes], topic_id: bytes) -> None:
        self._topic = topic
        self._partition = partition
        self._source = source
        self._topic_id = topic_id

    def event(
        self,
        command: Record,
        command_id: str,
        body_hash: bytes,
        trail: bytes,
        ce_type: tuple[str, bytes],
        value: bytes,
        version: int,
        index: int,
        count: int,
    ) -> Outgoing:
        """The record of event `index` (from 1) of `count` of a command, at a `version` of its aggregate.

        `trail` is what `trail_bytes` made, `ce_type` what `type_header` made. A `traceparent` is not among its headers.
        """
        es = event_es(self._topic_id, command.partition, command.offset, command.timestamp_ms, body_hash, trail)
        headers = fact_headers(self._source, ce_type, event_id(command_id, index, count), version, es)
        return Outgoing(self._topic, self._partition, command.key, value, headers)
