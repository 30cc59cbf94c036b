"""Batches that a consumer cannot unpack, in topics that anybody may write to: they are passed over, and hold nobody up.

A consumer unpacks no more than `receive.message.max.bytes`. Here that is little, so that the batches are small too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from eventsource.app import App
from eventsource.domain import Aggregate, Command, Event, applies, creates, decides
from eventsource.errors import LogError
from eventsource.log.admin import LogAdmin
from eventsource.log.meta_topic import read_meta
from eventsource.log.reader import LogReader
from eventsource.names import Names
from eventsource.settings import Settings
from eventsource.testing.running import ClientFactory

UNPACKED_BYTES = 100_000
LITTLE = {
    "message.max.bytes": "20000",
    "fetch.max.bytes": "20000",
    "receive.message.max.bytes": str(UNPACKED_BYTES),
}
TIMEOUT_SECONDS = 30.0


class Add(Command, name="add"):
    amount: int


class Added(Event, name="added"):
    amount: int


class Sum(Aggregate, name="sum"):
    amount: int = 0

    @creates
    @classmethod
    def begin(cls, command: Add) -> Added:
        return Added(amount=command.amount)

    @creates
    @classmethod
    def on_begun(cls, event: Added) -> Sum:
        return cls(amount=event.amount)

    @decides
    def add(self, command: Add) -> Added:
        return Added(amount=command.amount)

    @applies
    def on_added(self, event: Added) -> None:
        self.amount += event.amount


app = App("unpacked", aggregates=[Sum], partitions=1)


def write_batch(bootstrap: str, topic: str, partition: int, records: int = 1) -> None:
    """One batch that is small on the wire, and unpacks to twice what is allowed."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "compression.type": "zstd",
            "linger.ms": 1_000,
            "message.max.bytes": 10_000_000,
        }
    )
    for number in range(records):
        producer.produce(topic, bytes(2 * UNPACKED_BYTES // records), b"%d" % number, partition)
    assert producer.flush(30) == 0


@pytest.mark.parametrize("records", [1, 13])
def test_what_is_around_an_unreadable_batch_is_read_where_it_is_passed_over(
    eventsource_stack: Any, eventsource_namespace: str, records: int
) -> None:
    bootstrap, topic = eventsource_stack.bootstrap_servers, f"{eventsource_namespace}.torn"
    config = {"bootstrap.servers": bootstrap, **LITTLE}
    admin = LogAdmin(config)
    admin.create_topics([NewTopic(topic, 2, 1)])
    producer = Producer({"bootstrap.servers": bootstrap})
    for partition in (0, 1):
        producer.produce(topic, b"before", b"k", partition)
    assert producer.flush(30) == 0
    write_batch(bootstrap, topic, 0, records)
    for partition in (0, 1):
        producer.produce(topic, b"behind", b"k", partition)
    assert producer.flush(30) == 0
    places = [(topic, 0), (topic, 1)]
    ends = admin.end_offsets(places)
    with LogReader(config, ends_of=admin.end_offsets) as reader:
        reader.assign(dict.fromkeys(places, 0))
        found = [record for read in reader.read_to(ends, patience_seconds=1.0) for record in read]
        assert sorted((record.partition, record.offset, record.value) for record in found) == [
            (0, 0, b"before"),
            (0, 1 + records, b"behind"),
            (1, 0, b"before"),
            (1, 1, b"behind"),
        ]
        assert [(error.place, error.base) for error in reader.passed_over] == [((topic, 0), 1)]
    with LogReader(config) as reader:
        reader.assign({(topic, 0): 0})
        read_to = reader.read_to({(topic, 0): ends[topic, 0]}, patience_seconds=TIMEOUT_SECONDS)
        with pytest.raises(LogError, match=r"torn\[0\]: the batch at offset 1 cannot be read"):
            list(read_to)
    admin.close()


TOPICS: dict[str, Callable[[Names], str]] = {
    "commands": lambda names: names.commands("sum"),
    "replies": lambda names: names.replies,
    "schemas": lambda names: names.schemas,
    "meta": lambda names: names.meta,
}


@pytest.mark.parametrize("topic_of", TOPICS.values(), ids=TOPICS)
def test_an_unreadable_batch_holds_up_no_client_and_no_start(
    eventsource_settings: Settings, topic_of: Callable[[Names], str]
) -> None:
    kafka = eventsource_settings.kafka
    settings = eventsource_settings.model_copy(
        update={"kafka": kafka.model_copy(update={"client": {**kafka.client, **LITTLE}})}
    )
    names = app.names(settings.namespace)
    topic = topic_of(names)
    admin = LogAdmin(settings.kafka.client_config())
    first = ClientFactory(settings)
    try:
        client = first(app)
        client.send(Sum, "s-1", Add(amount=1), timeout=TIMEOUT_SECONDS)
        for partition in range(admin.partition_counts([topic])[topic]):
            write_batch(kafka.bootstrap_servers, topic, partition)
        client.send(Sum, "s-1", Add(amount=2), timeout=TIMEOUT_SECONDS)
    finally:
        first.close()
    again = ClientFactory(settings)
    try:
        client = again(app)
        client.send(Sum, "s-1", Add(amount=3), timeout=TIMEOUT_SECONDS)
        assert client.load(Sum, "s-1").state.amount == 6
        _, foreign = read_meta(names.meta, settings, admin)
        assert foreign.count == (topic == names.meta)
    finally:
        again.close()
        admin.close()
