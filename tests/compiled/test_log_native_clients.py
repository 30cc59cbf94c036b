"""The compiled consumer and producer against a real broker, beside those of confluent_kafka, which they stand in for."""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer, cimpl
from confluent_kafka.admin import NewTopic

from eventsource.errors import SettingsError
from eventsource.log import record_consumer as record_consumer_module
from eventsource.log.admin import LogAdmin
from eventsource.log.client_config import consumer_config, producer_config
from eventsource.log.native_consumer import NativeConsumer
from eventsource.log.native_headers import RawHeaders, raw_headers
from eventsource.log.native_producer import produce
from eventsource.log.record import UNREADABLE_HEADERS, Outgoing, Record
from eventsource.log.record_consumer import ClientConsumer, RecordConsumer, record_consumer

Config = dict[str, Any]
Make = Callable[[Config], RecordConsumer]


@pytest.fixture
def config(eventsource_stack: Any) -> Config:
    return {"bootstrap.servers": eventsource_stack.bootstrap_servers}


@pytest.fixture
def topics(config: Config, eventsource_namespace: str) -> tuple[str, str]:
    made = (f"{eventsource_namespace}.one", f"{eventsource_namespace}.two")
    LogAdmin(config).create_topics([NewTopic(topic, 2, 1) for topic in made])
    return made


@pytest.fixture
def producer(config: Config) -> Iterator[Producer]:
    made = Producer(producer_config(config))
    yield made
    made.purge()
    made.flush(10)


def native(config: Config) -> RecordConsumer:
    made = record_consumer(consumer_config(config, "none"))
    assert isinstance(made, NativeConsumer)
    return made


def client(config: Config) -> RecordConsumer:
    return ClientConsumer(consumer_config(config, "none"))


BOTH = pytest.mark.parametrize("make", [native, client])


def read(consumer: RecordConsumer, count: int) -> list[Record]:
    records: list[Record] = []
    deadline = time.monotonic() + 30
    while len(records) < count and time.monotonic() < deadline:
        some, errors = consumer.read(100, 0.1)
        assert not errors
        records += some
    return records


def outgoing(topics: tuple[str, str]) -> list[Outgoing]:
    one, two = topics
    return [
        Outgoing(one, 0, b"k", b"v", [("a", b"1"), ("b", None), ("a", b"")]),
        Outgoing(two, 1, b"", b"", ()),
        Outgoing(one, 1, b"\xff", None, []),  # type: ignore[arg-type]  # a tombstone
        Outgoing(two, 0, b"k" * 1_000, bytes(100_000), [("ö", bytes(1_000))] * 50),
        Outgoing(one, 0, b"k", b"v", raw_headers([("a", b"1"), ("b", None), ("a", b"")])),
        Outgoing(two, 1, b"k", b"v", raw_headers([])),
        Outgoing(two, 0, b"k", b"v", raw_headers([("ö", bytes(1_000))] * 50)),
        *[Outgoing(one, 0, b"%d" % number, b"x", [("n", b"%d" % number)]) for number in range(500)],
    ]


def test_what_is_produced_together_arrives_whole_and_in_order(
    config: Config, topics: tuple[str, str], producer: Producer
) -> None:
    sent = outgoing(topics)
    produce(producer, sent)
    assert producer.flush(30) == 0
    found: dict[str, dict[tuple[str, int], list[Record]]] = {}
    for make in (native, client):
        consumer = make(config)
        consumer.assign([(topic, partition, 0) for topic in topics for partition in (0, 1)])
        for record in read(consumer, len(sent)):
            found.setdefault(make.__name__, {}).setdefault(record[:2], []).append(record)
        consumer.close()
    assert found["native"] == found["client"]
    for place, records in found["native"].items():
        wanted = [each for each in sent if each[:2] == place]
        assert [(record.key, record.value, list(record.headers)) for record in records] == [
            (each.key, each.value, list(each.headers)) for each in wanted
        ]
        assert [record.offset for record in records] == list(range(len(wanted)))
        assert all(record.timestamp_ms > 1_700_000_000_000 for record in records)


def test_headers_are_raw_until_somebody_looks(config: Config, topics: tuple[str, str], producer: Producer) -> None:
    produce(producer, [Outgoing(topics[0], 0, b"k", b"v", [("a", b"1")])])
    producer.flush(30)
    consumer = native(config)
    consumer.assign([(topics[0], 0, 0)])
    (record,) = read(consumer, 1)
    consumer.close()
    assert isinstance(record.headers, RawHeaders)
    assert record.headers == [("a", b"1")]  # also when the consumer, and what it had fetched, are gone


@BOTH
def test_a_header_whose_name_is_not_utf_8_is_told_of(
    make: Make, config: Config, topics: tuple[str, str], producer: Producer
) -> None:
    # No client for Python writes such a name.
    library = ctypes.CDLL(cimpl.__file__)
    client = ctypes.c_void_p.from_address(id(producer) + object.__basicsize__)
    topic, partition, key, value, header, end = 1, 3, 5, 4, 9, 0  # rd_kafka_vtype_t
    size, none = ctypes.c_size_t, ctypes.c_void_p(None)
    arguments = [topic, topics[0].encode(), partition, 0, key, none, size(0), value, none, size(0)]
    assert library.rd_kafka_producev(client, *arguments, header, b"\xff", b"1", size(1), end) == 0
    producer.flush(30)
    consumer = make(config)
    consumer.assign([(topics[0], 0, 0)])
    (record,) = read(consumer, 1)
    consumer.close()
    assert record.headers == UNREADABLE_HEADERS
    assert (record.key, record.value) == (b"", None)


@BOTH
def test_a_consumer_reads_what_it_is_told_and_knows_where_it_stands(
    make: Make, config: Config, topics: tuple[str, str], producer: Producer
) -> None:
    one, two = topics
    produce(producer, [Outgoing(topic, 0, b"k", b"%d" % n) for topic in topics for n in range(10)])
    producer.flush(30)
    consumer = make(config)
    consumer.assign([(one, 0, 4)])
    assert consumer.position(one, 0) < 0
    assert [record.value for record in read(consumer, 6)] == [b"%d" % n for n in range(4, 10)]
    assert consumer.position(one, 0) == 10
    consumer.incremental_assign([(two, 0, 9)])
    assert [record[:3] for record in read(consumer, 1)] == [(two, 0, 9)]
    consumer.incremental_unassign([(one, 0, 0)])
    produce(producer, [Outgoing(one, 0, b"k", b"unread"), Outgoing(two, 0, b"k", b"read")])
    producer.flush(30)
    assert [record.value for record in read(consumer, 1)] == [b"read"]
    assert len(read_once(consumer, 1)) == 0
    consumer.close()


def read_once(consumer: RecordConsumer, limit: int) -> list[Record]:
    return consumer.read(limit, 0.0)[0]


@BOTH
def test_no_more_is_read_than_is_wanted(
    make: Make, config: Config, topics: tuple[str, str], producer: Producer
) -> None:
    produce(producer, [Outgoing(topics[0], 0, b"k", b"%d" % n) for n in range(10)])
    producer.flush(30)
    consumer = make(config)
    consumer.assign([(topics[0], 0, 0)])
    first: list[Record] = []
    while not first:
        first = consumer.read(3, 0.1)[0]
    assert len(first) <= 3
    assert [record.offset for record in [*first, *read(consumer, 10 - len(first))]] == list(range(10))
    consumer.close()


@BOTH
def test_an_offset_that_is_not_there_is_an_error_of_its_partition(
    make: Make, config: Config, topics: tuple[str, str]
) -> None:
    consumer = make(config)
    consumer.assign([(topics[0], 0, 99)])
    errors: list[Any] = []
    while not errors:
        _, errors = consumer.read(10, 0.1)
    consumer.close()
    assert [(each.topic, each.partition, each.error.code()) for each in errors] == [
        (topics[0], 0, KafkaError._AUTO_OFFSET_RESET)
    ]
    assert errors[0].error.str()


@BOTH
def test_a_topic_is_looked_up(make: Make, config: Config, topics: tuple[str, str]) -> None:
    consumer = make(config)
    assert consumer.look_up(topics[0], 10.0) is None
    missing = consumer.look_up(f"{topics[0]}.missing", 10.0)
    consumer.close()
    assert missing is not None
    assert missing.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC)


def test_what_concerns_the_whole_client_is_reported() -> None:
    heard: list[KafkaError] = []
    settings = consumer_config({"bootstrap.servers": "127.0.0.1:1", "error_cb": heard.append}, "none")
    consumer = record_consumer(settings)
    assert isinstance(consumer, NativeConsumer)
    deadline = time.monotonic() + 30
    while not heard and time.monotonic() < deadline:
        assert consumer.read(10, 0.1) == ([], [])
    consumer.close()
    assert {error.code() for error in heard} <= {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN}
    assert all(error.str() for error in heard)


def test_what_a_report_raises_comes_through() -> None:
    def report(error: KafkaError) -> None:
        raise RuntimeError("heard")

    consumer = record_consumer(consumer_config({"bootstrap.servers": "127.0.0.1:1", "error_cb": report}, "none"))
    with pytest.raises(RuntimeError, match="heard"):
        read(consumer, 1)
    consumer.close()


def test_a_setting_that_librdkafka_does_not_take_is_refused() -> None:
    with pytest.raises(SettingsError, match="no\\.such\\.setting"):
        record_consumer(consumer_config({"bootstrap.servers": "127.0.0.1:1", "no.such.setting": "1"}, "none"))
    with pytest.raises(SettingsError):
        record_consumer(consumer_config({"bootstrap.servers": "127.0.0.1:1", "fetch.wait.max.ms": "soon"}, "none"))


@pytest.mark.parametrize("more", [{"throttle_cb": lambda _: None}, {"default.topic.config": {}}])
def test_settings_that_only_the_client_understands_are_left_to_it(more: Config) -> None:
    made = record_consumer(consumer_config({"bootstrap.servers": "127.0.0.1:1", **more}, "none"))
    made.close()
    assert isinstance(made, ClientConsumer)


def test_tokens_that_the_client_gets_by_itself_are_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_consumer_module, "ClientConsumer", dict)
    settings = {"bootstrap.servers": "x", "sasl.oauthbearer.metadata.authentication.type": "aws_iam"}
    assert isinstance(record_consumer(consumer_config(settings, "none")), dict)


def test_nothing_at_all_cannot_be_read(config: Config) -> None:
    consumer = native(config)
    with pytest.raises(ValueError, match="one at least"):
        consumer.read(0, 0.0)
    consumer.close()


def test_a_closed_consumer_refuses_everything(config: Config) -> None:
    consumer = native(config)
    consumer.close()
    consumer.close()
    for call in (
        lambda: consumer.read(1, 0.0),
        lambda: consumer.assign([("t", 0, 0)]),
        lambda: consumer.incremental_assign([("t", 0, 0)]),
        lambda: consumer.incremental_unassign([("t", 0, 0)]),
        lambda: consumer.position("t", 0),
        lambda: consumer.look_up("t", 0.1),
    ):
        with pytest.raises(RuntimeError, match="closed"):
            call()


# --- the producer ----------------------------------------------------------------------------------------------------


def test_a_full_queue_is_a_buffer_error() -> None:
    producer = Producer(producer_config({"bootstrap.servers": "127.0.0.1:1", "queue.buffering.max.messages": 10}))
    with pytest.raises(BufferError):
        produce(producer, [Outgoing("t", 0, b"k", b"v", [("a", b"1")]) for _ in range(20)])
    assert 10 <= len(producer) < 20  # errors that nobody has heard yet count too
    producer.purge()


def test_a_record_that_is_too_large_is_an_error_of_its_own_code(topics: tuple[str, str], producer: Producer) -> None:
    with pytest.raises(KafkaException) as ours:
        produce(producer, [Outgoing(topics[0], 0, b"k", bytes(2_000_000), [("a", b"1")])])
    with pytest.raises(KafkaException) as theirs:
        producer.produce(topics[0], bytes(2_000_000), b"k", 0)
    assert ours.value.args[0].code() == theirs.value.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE


def test_outside_of_a_transaction_a_transactional_producer_takes_nothing(
    config: Config, topics: tuple[str, str], eventsource_namespace: str
) -> None:
    producer = Producer({**producer_config(config), "transactional.id": f"{eventsource_namespace}.id"})
    producer.init_transactions(30)
    with pytest.raises(KafkaException) as refused:
        produce(producer, [Outgoing(topics[0], 0, b"k", b"v")])
    assert refused.value.args[0].code() == KafkaError._STATE


@pytest.mark.parametrize(
    "record",
    [
        ("t", 0, b"k", b"v"),
        ["t", 0, b"k", b"v", []],
        ("t", 0, "k", b"v", []),
        ("t", 0, b"k", 7, []),
        ("t", "0", b"k", b"v", []),
        (b"t", 0, b"k", b"v", []),
        ("t", 0, b"k", b"v", [("a",)]),
        ("t", 0, b"k", b"v", [("a", "text")]),
        ("t", 0, b"k", b"v", [(b"a", b"1")]),
        ("t", 0, b"k", b"v", 7),
    ],
)
def test_what_is_no_record_is_refused_and_not_queued(producer: Producer, record: Any) -> None:
    with pytest.raises(TypeError):
        produce(producer, [record])
    assert len(producer) == 0


def test_what_is_no_producer_is_refused() -> None:
    with pytest.raises(TypeError, match="Producer"):
        produce(object(), [])  # type: ignore[arg-type]


def test_nothing_of_what_was_produced_or_read_is_kept(
    config: Config, topics: tuple[str, str], producer: Producer
) -> None:
    value, header = b"value of its own", b"header of its own"
    record = Outgoing(topics[0], 0, b"k", value, [("a", header)])
    before = sys.getrefcount(value), sys.getrefcount(header), sys.getrefcount(record)
    for _ in range(10):
        produce(producer, [record] * 100)
    assert (sys.getrefcount(value), sys.getrefcount(header), sys.getrefcount(record)) == before
    producer.flush(30)
    consumer = native(config)
    consumer.assign([(topics[0], 0, 0)])
    records = read(consumer, 1_000)
    consumer.close()
    assert len(records) == 1_000
    held = {sys.getrefcount(each) for each in records}
    parts = [sys.getrefcount(records[0][index]) for index in (3, 5, 6)]
    assert (held, parts) == ({3}, [2, 2, 2])  # by the list, the loop and the call; by the record and the call
