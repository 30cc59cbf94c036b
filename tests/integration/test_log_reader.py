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


def test_what_is_assigned_again_is_read_again(eventsource_stack: Any, eventsource_namespace: str) -> None:
    config = {"bootstrap.servers": eventsource_stack.bootstrap_servers}
    topic, other = f"{eventsource_namespace}.again", f"{eventsource_namespace}.other"
    LogAdmin(config).create_topics([NewTopic(topic, 1, 1), NewTopic(other, 1, 1)])
    producer = Producer(config)
    for number in range(500):
        producer.produce(topic, b"%d" % number, partition=0)
        producer.produce(other, b"%d" % number, partition=0)
    producer.flush()
    end = {(topic, 0): 500}
    # A consumer that is assigned a partition again says for a while that it stands where it stood: often, not always.
    for _ in range(10):
        with LogReader(config) as reader:
            for start in (0, 100, 499):
                reader.assign({(topic, 0): start})
                assert len(read_to(reader, end)) == 500 - start
            reader.assign({(topic, 0): 0, (other, 0): 0})
            assert len(read_to(reader, {**end, (other, 0): 500})) == 1_000
            reader.remove([(topic, 0)])
            reader.add({(topic, 0): 200})
            assert read_to(reader, {**end, (other, 0): 500}) == [(topic, number) for number in range(200, 500)]


def read_to(reader: LogReader, ends: dict[tuple[str, int], int]) -> list[tuple[str, int]]:
    return [
        (record.topic, record.offset) for records in reader.read_to(ends, patience_seconds=10) for record in records
    ]
