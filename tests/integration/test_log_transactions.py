"""The transactional writer against a real broker: what it writes, whom it fences, and what it refuses."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from eventsource.errors import BrokerUnavailable, Fenced, OffsetLost, TransactionAborted
from eventsource.log.admin import LogAdmin, TopicAndPartition
from eventsource.log.committed import committed_offsets
from eventsource.log.membership import Membership, Owned
from eventsource.log.reader import LogReader
from eventsource.log.record import Outgoing
from eventsource.log.steps import Step
from eventsource.log.transactions import PartitionWriter

Config = dict[str, Any]


@pytest.fixture
def config(eventsource_stack: Any) -> Config:
    return {"bootstrap.servers": eventsource_stack.bootstrap_servers}


@pytest.fixture
def admin(config: Config) -> LogAdmin:
    return LogAdmin(config)


@pytest.fixture
def topics(admin: LogAdmin, eventsource_namespace: str) -> tuple[str, str]:
    made = (f"{eventsource_namespace}.app.thing.commands", f"{eventsource_namespace}.app.thing.events")
    admin.create_topics([NewTopic(topic, 2, 1) for topic in made])
    return made


@pytest.fixture
def member(config: Config, topics: tuple[str, str]) -> Iterator[Membership]:
    membership = Membership(config, f"{topics[0]}.owners", [topics[0]])
    membership.start()
    yield membership
    membership.close()


def joined(membership: Membership, partitions: int) -> Owned:
    owned = membership.owned()
    for _ in range(200):
        if len(owned.partitions) == partitions and owned.metadata is not None:
            return owned
        owned = membership.wait(owned.epoch, 0.1)
        membership.check()
    raise AssertionError(f"the group gave {owned}")


@pytest.fixture
def writer(config: Config, eventsource_namespace: str) -> Iterator[Callable[[], PartitionWriter]]:
    made: list[PartitionWriter] = []

    def make() -> PartitionWriter:
        made.append(PartitionWriter(config, [f"{eventsource_namespace}.w.{turn}" for turn in (0, 1)]))
        return made[-1]

    yield make
    for each in made:
        each.close()


def records(topic: str, *values: bytes) -> list[Outgoing]:
    return [Outgoing(topic, 0, b"k", value, [("h", b"1")]) for value in values]


def read_all(config: Config, admin: LogAdmin, where: TopicAndPartition) -> list[bytes | None]:
    end = admin.end_offsets([where])[where]
    values: list[bytes | None] = []
    with LogReader(config) as reader:
        reader.assign({where: 0})
        while end > 0 and reader.position(*where) < end:
            values += [record.value for record in reader.read(100, 0.1)]
    return values


def test_a_transaction_writes_its_records_and_the_offset(
    config: Config, admin: LogAdmin, topics: tuple[str, str], member: Membership, writer: Callable[[], PartitionWriter]
) -> None:
    commands, events = topics
    owned = joined(member, 2)
    one = writer()
    one.fence()
    first = one.commit(records(events, b"a", b"b"), ((commands, 0), 2), owned.metadata)
    second = one.commit(records(events, b"c"), ((commands, 0), 3), owned.metadata)
    assert first == [0, 1]
    assert second[0] > first[-1]
    assert read_all(config, admin, (events, 0)) == [b"a", b"b", b"c"]
    assert committed_offsets(config, f"{commands}.owners", [(commands, 0), (commands, 1)], timeout_seconds=10) == {
        (commands, 0): 3,
        (commands, 1): None,
    }


def test_a_stale_owner_cannot_commit(
    config: Config, admin: LogAdmin, topics: tuple[str, str], member: Membership, writer: Callable[[], PartitionWriter]
) -> None:
    commands, events = topics
    owned = joined(member, 2)
    stale = writer()
    stale.fence()
    stale.commit(records(events, b"before"), ((commands, 0), 1), owned.metadata)
    owner = writer()
    owner.fence()
    with pytest.raises((Fenced, TransactionAborted)):
        stale.commit(records(events, b"stale"), ((commands, 0), 2), owned.metadata)
    owner.commit(records(events, b"after"), ((commands, 0), 2), owned.metadata)
    assert read_all(config, admin, (events, 0)) == [b"before", b"after"]


def test_fencing_does_not_wait_for_a_second_look_for_the_coordinator(
    writer: Callable[[], PartitionWriter],
) -> None:
    def seconds() -> float:
        one, began = writer(), time.monotonic()
        one.fence()
        return time.monotonic() - began

    # librdkafka's second look comes after 500 ms: without a connection at the first, half of the fences wait for it.
    assert sorted(seconds() for _ in range(12))[8] < 0.45


def test_both_of_a_stale_owners_producers_are_shut_out(
    topics: tuple[str, str], member: Membership, writer: Callable[[], PartitionWriter]
) -> None:
    commands, events = topics
    owned = joined(member, 2)
    stale = writer()
    stale.fence()  # its first producer is due, its second waits for its turn
    owner = writer()
    owner.fence()
    for turn in (0, 1):
        stale._turn = turn
        with pytest.raises((Fenced, TransactionAborted)):
            stale.commit(records(events, b"stale"), ((commands, 0), 1), owned.metadata)


def test_a_generation_that_is_over_cannot_commit(
    config: Config, admin: LogAdmin, topics: tuple[str, str], member: Membership, writer: Callable[[], PartitionWriter]
) -> None:
    commands, events = topics
    owned = joined(member, 2)
    one = writer()
    one.fence()
    member.close()
    other = Membership(config, f"{commands}.owners", [commands])
    other.start()
    try:
        joined(other, 2)
        with pytest.raises((Fenced, TransactionAborted)):
            one.commit(records(events, b"late"), ((commands, 0), 1), owned.metadata)
    finally:
        other.close()
    assert read_all(config, admin, (events, 0)) == []


@pytest.mark.parametrize("metadata", [None, b"", b"CGMDv2:\xff\xff\xff\xffgroup\0\0\1", b"CGMDv2:\1\0\0\0group\0\0\1"])
def test_metadata_that_no_broker_would_check_is_refused(
    topics: tuple[str, str], writer: Callable[[], PartitionWriter], metadata: bytes | None
) -> None:
    commands, events = topics
    one = writer()
    one.fence()
    with pytest.raises(Fenced, match="not a member"):
        one.commit(records(events, b"ghost"), ((commands, 0), 1), metadata)


def test_a_record_that_cannot_be_produced_aborts_all_of_its_transaction(
    config: Config, admin: LogAdmin, topics: tuple[str, str], member: Membership, writer: Callable[[], PartitionWriter]
) -> None:
    commands, events = topics
    owned = joined(member, 2)
    one = writer()
    one.fence()
    with pytest.raises(TransactionAborted):
        one.commit(records(events, b"small", b"x" * 2_000_000), ((commands, 0), 2), owned.metadata)
    again = writer()
    again.fence()
    again.commit(records(events, b"next"), ((commands, 0), 1), owned.metadata)
    assert read_all(config, admin, (events, 0)) == [b"next"]


def test_a_transaction_whose_coordinator_gave_signs_of_trouble_is_given_up_before_its_offsets_are_sent(
    config: Config, admin: LogAdmin, topics: tuple[str, str], member: Membership, writer: Callable[[], PartitionWriter]
) -> None:
    # A broker that came back meanwhile: sending the offsets would take all of the transaction's time-out.
    commands, events = topics
    owned = joined(member, 2)
    steps: list[Step] = []
    first = writer()
    first.on_step = steps.append
    first.fence()
    transaction = first.begin(owned.metadata)
    transaction.produce(records(events, b"lost"))
    first._suspicions[0].raise_suspicion("its connection broke")
    with pytest.raises(TransactionAborted, match=r"given up.*its connection broke"):
        transaction.commit(((commands, 0), 1))
    assert Step.FLUSHED in steps
    assert Step.OFFSETS_SENT not in steps
    second = writer()
    second.fence()
    second.commit(records(events, b"kept"), ((commands, 0), 1), owned.metadata)
    assert read_all(config, admin, (events, 0)) == [b"kept"]


def test_records_that_land_in_another_log_are_not_committed(
    config: Config, admin: LogAdmin, topics: tuple[str, str], member: Membership, writer: Callable[[], PartitionWriter]
) -> None:
    commands, events = topics
    owned = joined(member, 2)
    one = writer()
    one.fence()
    one.commit(records(events, b"a", b"b"), ((commands, 0), 2), owned.metadata)
    make_anew(config, admin, events)
    with pytest.raises(OffsetLost, match=f"a record of {events} was given offset 0, and 2 was due at least"):
        one.commit(records(events, b"c"), ((commands, 0), 3), owned.metadata)
    assert read_all(config, admin, (events, 0)) == []
    successor = writer()
    successor.fence()
    successor.expect({(events, 0): 9})
    with pytest.raises(OffsetLost, match="9 was due"):
        successor.commit(records(events, b"c"), ((commands, 0), 3), owned.metadata)


def make_anew(config: Config, admin: LogAdmin, topic: str) -> None:
    client: Any = AdminClient(config)
    before = admin.topic_ids([topic])
    client.delete_topics([topic])[topic].result(10)
    while admin.topic_ids([topic]) in (before, {}):
        client.create_topics([NewTopic(topic, 2, 1)])[topic].exception(10)  # until the other one is gone


def test_the_end_of_an_open_transaction_is_seen_by_its_successor(
    config: Config, admin: LogAdmin, topics: tuple[str, str], eventsource_namespace: str
) -> None:
    _, events = topics
    producer = Producer({**config, "transactional.id": f"{eventsource_namespace}.open"})
    producer.init_transactions(10)
    producer.begin_transaction()
    delivered = threading.Event()
    producer.produce(events, b"open", b"k", 0, on_delivery=lambda *_: delivered.set())
    producer.flush(10)
    assert delivered.is_set()
    where = (events, 0)
    assert admin.end_offsets([where])[where] == 1
    assert admin.end_offsets([where], committed_only=True)[where] == 0
    producer.abort_transaction(10)


def test_members_share_the_partitions_and_give_them_back(
    config: Config, topics: tuple[str, str], member: Membership
) -> None:
    commands, _ = topics
    joined(member, 2)
    revoked: list[frozenset[TopicAndPartition]] = []
    other = Membership(config, f"{commands}.owners", [commands], on_revoked=revoked.append)
    other.start()
    one, two = joined(member, 1), joined(other, 1)
    assert one.partitions | two.partitions == {(commands, 0), (commands, 1)}
    other.close()
    assert revoked == [two.partitions]
    assert joined(member, 2).partitions == {(commands, 0), (commands, 1)}


def test_an_offset_whose_transaction_is_open_is_waited_for_and_not_overlooked(
    config: Config, topics: tuple[str, str], member: Membership, eventsource_namespace: str
) -> None:
    commands, events = topics
    owned = joined(member, 2)
    group = f"{commands}.owners"
    producer = Producer({**config, "transactional.id": f"{eventsource_namespace}.open"})
    producer.init_transactions(10)
    producer.begin_transaction()
    producer.produce(events, b"open", b"k", 0)
    producer.send_offsets_to_transaction([TopicPartition(commands, 0, 9)], owned.metadata, 10)
    with pytest.raises(BrokerUnavailable, match="has not ended"):
        committed_offsets(config, group, [(commands, 0)], timeout_seconds=5)
    producer.commit_transaction()
    assert committed_offsets(config, group, [(commands, 0)], timeout_seconds=10) == {(commands, 0): 9}
