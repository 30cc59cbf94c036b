"""The reader against a real broker."""

from __future__ import annotations

import time
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from eventsource.log.admin import LogAdmin
from eventsource.log.reader import LogReader


def test_a_reader_that_turns_to_another_topic_does_not_wait_for_a_scan(
    eventsource_stack: Any, eventsource_namespace: str
) -> None:
    config = {"bootstrap.servers": eventsource_stack.bootstrap_servers}
    topics = [f"{eventsource_namespace}.{number}" for number in range(5)]
    LogAdmin(config).create_topics([NewTopic(topic, 1, 1) for topic in topics])
    producer = Producer(config)
    for topic in topics:
        producer.produce(topic, b"1", partition=0)
    producer.flush()

    def seconds() -> float:
        with LogReader(config) as reader:
            read_first(reader, topics[0])
            began = time.monotonic()
            for topic in topics[1:]:
                read_first(reader, topic)
            return time.monotonic() - began

    # librdkafka scans once a second for topics that it does not know: four of them never take less than three.
    assert min(seconds() for _ in range(5)) < 2.0


def read_first(reader: LogReader, topic: str) -> None:
    reader.assign({(topic, 0): 0})
    while not reader.read(1, 0.1):
        pass
