"""Schemas in a real compacted topic: acknowledged, caught up with, shared, and never replaced."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pydantic
import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from pydantic import BaseModel

from eventsource.errors import (
    BrokerUnavailable,
    FingerprintConflict,
    LogError,
    Retriable,
    TopicMismatch,
    TopicMissing,
    UnknownFingerprint,
)
from eventsource.log.admin import LogAdmin
from eventsource.schemas import KafkaSchemaStore, MessageCodec, SchemaText, message_schema
from eventsource.schemas.fingerprint import canonical_form, fingerprint

Config = dict[str, Any]
MakeStore = Callable[..., KafkaSchemaStore]


class Opened(BaseModel):
    owner: str


TEXT = message_schema(Opened, "opened").text


def text_of(name: str) -> SchemaText:
    return message_schema(Opened, name).text


@pytest.fixture
def config(eventsource_stack: Any) -> Config:
    return {"bootstrap.servers": eventsource_stack.bootstrap_servers}


@pytest.fixture
def topic(config: Config, eventsource_namespace: str) -> str:
    name = f"{eventsource_namespace}.app.schemas"
    make_topic(config, name)
    return name


def make_topic(config: Config, name: str, partitions: int = 1) -> None:
    """Makes a topic, once one of that name that is being deleted is gone, and waits until it can be described."""
    new = NewTopic(name, partitions, 1, config={"cleanup.policy": "compact"})
    deadline = time.monotonic() + 10
    admin = AdminClient(config)  # its futures fail once nothing refers to it
    while True:
        try:
            admin.create_topics([new])[name].result(10)
            break
        except KafkaException as error:
            assert error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS  # noqa: PT017  # the loop is the wait
            assert time.monotonic() < deadline, "the topic is still there"
    while name not in LogAdmin(config).partition_counts([name]):
        assert time.monotonic() < deadline, "the topic cannot be seen"


@pytest.fixture
def make_store(config: Config, topic: str) -> Iterator[MakeStore]:
    made: list[KafkaSchemaStore] = []

    def make(**options: Any) -> KafkaSchemaStore:
        made.append(KafkaSchemaStore(topic, config, **{"wait_seconds": 10.0, **options}))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def write(config: Config, topic: str) -> Callable[[bytes, bytes | None], None]:
    """Writes a record as nobody should."""

    def write(key: bytes, value: bytes | None) -> None:
        producer = Producer(config)
        producer.produce(topic, value, key)
        assert producer.flush(10) == 0

    return write


def end_of(config: Config, topic: str) -> int:
    return LogAdmin(config).end_offsets([(topic, 0)])[topic, 0]


def test_what_one_store_registers_another_reads(make_store: MakeStore) -> None:
    writer, reader = make_store(), make_store()
    with pytest.raises(UnknownFingerprint):
        make_store(wait_seconds=0).get(TEXT.fingerprint)
    writer.register(TEXT)
    assert reader.get(TEXT.fingerprint) == TEXT
    assert make_store().get(TEXT.fingerprint) == TEXT


def test_the_same_schema_is_written_once(make_store: MakeStore, config: Config, topic: str) -> None:
    store = make_store()
    store.register(TEXT)
    store.register(TEXT)
    make_store().register(TEXT)
    assert end_of(config, topic) == 1


def test_two_stores_may_register_one_schema_at_once(make_store: MakeStore) -> None:
    stores = [make_store() for _ in range(4)]
    barrier = threading.Barrier(len(stores))

    def register(store: KafkaSchemaStore) -> SchemaText:
        barrier.wait(5)
        store.register(TEXT)
        return store.get(TEXT.fingerprint)

    with ThreadPoolExecutor(len(stores)) as pool:
        assert list(pool.map(register, stores)) == [TEXT] * len(stores)
    assert make_store().get(TEXT.fingerprint) == TEXT


def test_another_text_under_a_known_fingerprint_is_refused_and_not_written(
    make_store: MakeStore, config: Config, topic: str
) -> None:
    make_store().register(TEXT)
    other = SchemaText(TEXT.fingerprint, "other", text_of("other").text)
    for store in (make_store(), make_store(wait_seconds=0)):
        with pytest.raises(FingerprintConflict):
            store.register(other)
    assert end_of(config, topic) == 1


def test_a_get_waits_until_the_schema_arrives(make_store: MakeStore) -> None:
    reader, writer = make_store(), make_store()
    with ThreadPoolExecutor(3) as pool:
        found = [pool.submit(reader.get, text_of(name).fingerprint) for name in ("one", "two", "one")]
        writer.register(text_of("two"))
        assert found[1].result(10).name == "two"
        writer.register(text_of("one"))
        assert [future.result(10).name for future in found] == ["one", "two", "one"]


def test_a_fingerprint_that_is_not_found_holds_nobody_up_twice(make_store: MakeStore) -> None:
    store = make_store(wait_seconds=2, missing_seconds=60)
    started = time.monotonic()
    with pytest.raises(UnknownFingerprint, match=r"000000000000002a is in topic .*, waited 2 s"):
        store.get(42)
    assert time.monotonic() - started >= 2
    started = time.monotonic()
    for _ in range(20):
        with pytest.raises(UnknownFingerprint):
            store.get(42)
    assert time.monotonic() - started < 1.6, "one that waits takes 2"
    # but what arrives is found, whatever was remembered
    with pytest.raises(UnknownFingerprint):
        store.get(TEXT.fingerprint)
    make_store().register(TEXT)
    store.register(text_of("another"))
    assert store.get(TEXT.fingerprint) == TEXT


def test_whoever_has_little_patience_waits_no_longer_and_spoils_nobody_elses(make_store: MakeStore) -> None:
    store = make_store(wait_seconds=3)
    with ThreadPoolExecutor(1) as pool:
        patient = pool.submit(store.get, TEXT.fingerprint)
        with pytest.raises(UnknownFingerprint, match=r"waited 0.2 s"):
            store.get(TEXT.fingerprint, patience_seconds=0.2)
        assert not patient.done()
        with pytest.raises(UnknownFingerprint, match=r"waited 3 s"):
            patient.result(20)
    # who would wait longer than was waited in vain, does
    started = time.monotonic()
    with pytest.raises(UnknownFingerprint):
        store.get(TEXT.fingerprint, patience_seconds=3.3)
    assert time.monotonic() - started >= 3.3
    # and what arrives meanwhile is found within a second, though nobody waits for it any more
    make_store().register(TEXT)
    deadline = time.monotonic() + 5
    while True:
        try:
            assert store.get(TEXT.fingerprint, patience_seconds=0.1) == TEXT
            break
        except UnknownFingerprint:
            assert time.monotonic() < deadline


def test_records_that_are_no_schema_are_passed_over_and_named_when_asked_for(
    make_store: MakeStore, write: Callable[[bytes, bytes | None], None]
) -> None:
    write(b"nonsense", b"{}")
    write(b"%016x" % 1, b"[" * 10_000)
    write(b"%016x" % 2, TEXT.text.encode())
    write(b"%016x" % 3, b"x" * 500_000)
    make_store().register(TEXT)
    write(TEXT.hex.encode(), None)
    write(TEXT.hex.encode(), b"")
    store = make_store(wait_seconds=0)
    assert store.get(TEXT.fingerprint) == TEXT
    for number, reason in (
        (1, "not that of a record's schema"),
        (2, f"its text has the fingerprint {TEXT.hex}"),
        (3, "500000 bytes"),
    ):
        with pytest.raises(UnknownFingerprint, match=rf"damaged schema under {number:016x}: .*{reason}"):
            store.get(number)


def test_a_text_is_parsed_when_it_is_asked_for_and_not_before(
    make_store: MakeStore, write: Callable[[bytes, bytes | None], None]
) -> None:
    deep = '{"name":"a","type":' + "[" * 5_000 + "]" * 5_000 + "}"
    number = fingerprint(deep)
    write(b"%016x" % number, deep.encode())
    store = make_store(wait_seconds=0)
    store.register(TEXT)
    assert store.get(TEXT.fingerprint) == TEXT
    with pytest.raises(UnknownFingerprint, match=rf"damaged schema under {number:016x}: .*nests deeper"):
        store.get(number)


def test_a_transaction_that_somebody_left_open_hides_no_schema(
    make_store: MakeStore, config: Config, topic: str
) -> None:
    foreign = Producer({**config, "transactional.id": f"{topic}.foreign"})
    foreign.init_transactions(20)
    foreign.begin_transaction()
    foreign.produce(topic, b"{}", b"nonsense", partition=0)
    foreign.flush(20)
    try:
        make_store().register(TEXT)
        assert make_store(wait_seconds=0).get(TEXT.fingerprint) == TEXT
    finally:
        foreign.abort_transaction(20)


def test_two_texts_under_one_fingerprint_in_the_topic_are_neither_read_nor_written(
    make_store: MakeStore, write: Callable[[bytes, bytes | None], None]
) -> None:
    one, other = colliding_texts()
    assert one.fingerprint == other.fingerprint
    make_store().register(one)
    before = make_store()
    assert before.get(one.fingerprint) == one
    write(other.hex.encode(), other.text.encode())
    store = make_store()
    for text in (one, other):
        with pytest.raises(FingerprintConflict, match="of another schema"):
            store.register(text)
    with pytest.raises(FingerprintConflict):
        store.get(one.fingerprint)
    # one that read the first text already learns of the second when it catches up next
    before.register(TEXT)
    with pytest.raises(FingerprintConflict):
        before.get(one.fingerprint)


def colliding_texts() -> tuple[SchemaText, SchemaText]:
    """CRC-64 is linear: of 65 single letters that may change, some always cancel each other out."""

    def text(changed: set[int]) -> str:
        name = "".join("c" if index in changed else "a" for index in range(65))
        return canonical_form({"type": "record", "name": "m", "fields": [{"name": name, "type": "long"}]})

    base = fingerprint(text(set()))
    basis: dict[int, tuple[int, set[int]]] = {}
    for index in range(65):
        delta, changed = fingerprint(text({index})) ^ base, {index}
        while delta:
            top = delta.bit_length()
            if top not in basis:
                basis[top] = (delta, changed)
                break
            delta, changed = delta ^ basis[top][0], changed ^ basis[top][1]
        else:
            return SchemaText(base, "m", text(set())), SchemaText(fingerprint(text(changed)), "m", text(changed))
    raise AssertionError("65 vectors of 64 bits are never independent")


def make_topic_anew(config: Config, topic: str) -> None:
    admin = AdminClient(config)
    admin.delete_topics([topic])[topic].result(10)
    make_topic(config, topic)


def test_a_topic_that_was_made_anew_is_written_to(make_store: MakeStore, config: Config, topic: str) -> None:
    store = make_store()
    for name in ("one", "two", "three"):
        store.register(text_of(name))
    make_topic_anew(config, topic)
    store.register(text_of("four"))
    assert make_store().get(text_of("four").fingerprint).name == "four"


def test_a_topic_that_was_made_anew_is_read_from_its_start(make_store: MakeStore, config: Config, topic: str) -> None:
    store = make_store()
    for name in ("one", "two", "three"):
        store.register(text_of(name))
    make_topic_anew(config, topic)
    make_store().register(text_of("four"))
    assert store.get(text_of("four").fingerprint).name == "four"
    assert store.get(text_of("one").fingerprint).name == "one"
    store.register(text_of("one"))
    assert make_store().get(text_of("one").fingerprint).name == "one"


def test_a_topic_of_two_partitions_is_refused(config: Config, eventsource_namespace: str) -> None:
    name = f"{eventsource_namespace}.app.schemas"
    make_topic(config, name, partitions=2)
    with KafkaSchemaStore(name, config) as store, pytest.raises(TopicMismatch, match="2 partitions"):
        store.register(TEXT)


def test_a_missing_topic_is_named_with_its_mend_and_not_made(config: Config, eventsource_namespace: str) -> None:
    missing = f"{eventsource_namespace}.app.nowhere"
    with KafkaSchemaStore(missing, config, wait_seconds=1, request_timeout_seconds=5) as store:
        with pytest.raises(TopicMissing, match="eventsource topics apply"):
            store.register(TEXT)
        with pytest.raises(TopicMissing):
            store.get(TEXT.fingerprint)
    assert missing not in LogAdmin(config).topic_names()


def test_no_broker_is_said_within_seconds() -> None:
    config = {"bootstrap.servers": "127.0.0.1:1"}
    with KafkaSchemaStore("schemas", config, wait_seconds=1, request_timeout_seconds=1) as store:
        for ask in (lambda: store.register(TEXT), lambda: store.get(TEXT.fingerprint)):
            started = time.monotonic()
            with pytest.raises(BrokerUnavailable, match="no broker answer"):
                ask()
            assert time.monotonic() - started < 5


def test_a_closed_store_says_so_but_still_knows_what_it_read(make_store: MakeStore) -> None:
    store = make_store()
    store.register(TEXT)
    store.close()
    store.close()
    assert store.get(TEXT.fingerprint) == TEXT
    with pytest.raises(LogError, match="the schema store is closed"):
        store.get(1)


def test_an_event_travels_between_two_revisions_of_a_class(make_store: MakeStore) -> None:
    later = pydantic.create_model("Opened", owner=(str, ...), vip=(bool, False))
    value = MessageCodec(Opened, "opened", make_store()).encode(Opened(owner="Ada"))
    found = MessageCodec(later, "opened", make_store()).decode(value)
    assert found == later(owner="Ada")


def test_a_registration_of_unknown_outcome_may_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker goes away between reading the topic and writing to it: librdkafka says `_MSG_TIMED_OUT`."""
    monkeypatch.setattr(KafkaSchemaStore, "_catch_up", lambda _: None)
    with (
        KafkaSchemaStore("schemas", {"bootstrap.servers": "127.0.0.1:1"}, request_timeout_seconds=1) as store,
        pytest.raises(BrokerUnavailable, match=f"registering schema {TEXT.name}") as caught,
    ):
        store.register(TEXT)
    assert isinstance(caught.value, Retriable)
