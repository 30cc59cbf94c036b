"""Group metadata and offsets that no broker checks: what it would let pass is refused before it is sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import NewTopic

from eventsource.errors import Fenced, LogError
from eventsource.log.admin import LogAdmin, TopicAndPartition
from eventsource.log.client_config import consumer_config
from eventsource.log.committed import committed_offsets
from eventsource.log.membership import Membership, Owned
from eventsource.log.record import Outgoing
from eventsource.log.transactions import PartitionWriter, is_checked_metadata
from eventsource.testing.stack import SessionStack

pytestmark = pytest.mark.faults

Config = dict[str, Any]


class Group:
    """A group with a member that owns a partition, a transactional writer, and a raw producer that checks nothing."""

    def __init__(self, config: Config, namespace: str) -> None:
        self.config = config
        self.name = f"{namespace}.owners"
        self.commands: TopicAndPartition = (f"{namespace}.commands", 0)
        self.events: TopicAndPartition = (f"{namespace}.events", 0)
        self.admin = LogAdmin(config)
        self.admin.create_topics([NewTopic(topic, 1, 1) for topic, _ in (self.commands, self.events)])
        self.member = self.join()
        self._transactional_id = f"{namespace}.writer"

    def join(self) -> Membership:
        member = Membership(self.config, self.name, [self.commands[0]])
        member.start()
        return member

    def owned(self) -> Owned:
        """What the member owns, once it does."""
        wait_until(lambda: bool(self.member.owned().partitions) and is_checked_metadata(self.member.owned().metadata))
        return self.member.owned()

    def ghost(self) -> Consumer:
        """A consumer of the group that never joins it."""
        return Consumer(consumer_config(self.config, self.name))

    def write(self, metadata: Any, offset: int) -> None:
        """As an owner writes."""
        writer = PartitionWriter(self.config, [f"{self._transactional_id}.{turn}" for turn in (0, 1)])
        try:
            writer.fence()
            writer.commit([Outgoing(*self.events, b"k", b"v", [("h", b"1")])], (self.commands, offset), metadata)
        finally:
            writer.close()

    def write_unchecked(self, metadata: Any, offset: int) -> None:
        """As a plain transactional producer writes."""
        producer = Producer({**self.config, "transactional.id": f"{self._transactional_id}.raw"})
        producer.init_transactions(10)
        producer.begin_transaction()
        producer.produce(self.events[0], b"v", b"k", self.events[1])
        producer.send_offsets_to_transaction([TopicPartition(*self.commands, offset)], metadata, 10)
        producer.commit_transaction()

    def committed(self) -> int | None:
        return committed_offsets(self.config, self.name, [self.commands], timeout_seconds=10)[self.commands]

    def end(self) -> int:
        return self.admin.end_offsets([self.events])[self.events]


@pytest.fixture
def make_group(eventsource_stack: SessionStack, eventsource_namespace: str) -> Iterator[Callable[..., Group]]:
    made: list[Group] = []

    def make(**client: str) -> Group:
        made.append(Group({"bootstrap.servers": eventsource_stack.bootstrap_servers, **client}, eventsource_namespace))
        return made[-1]

    yield make
    for group in made:
        group.member.close()


def test_offsets_of_one_who_never_joined_pass_the_broker_and_not_us(make_group: Callable[..., Group]) -> None:
    group = make_group()
    group.owned()
    ghost = group.ghost()
    group.write_unchecked(ghost.consumer_group_metadata(), 5)
    assert group.committed() == 5  # the broker took it, from nobody
    end = group.end()
    with pytest.raises(Fenced, match="not a member"):
        group.write(ghost.consumer_group_metadata(), 9)
    assert (group.committed(), group.end()) == (5, end)
    ghost.close()


def test_one_who_has_left_the_group_cannot_write(make_group: Callable[..., Group]) -> None:
    group = make_group()
    owned = group.owned()
    group.write(owned.metadata, 1)
    group.member.close()
    group.member = group.join()
    group.owned()
    with pytest.raises(Fenced, match=r"UNKNOWN_MEMBER_ID|ILLEGAL_GENERATION"):
        group.write(owned.metadata, 9)
    assert group.committed() == 1


def test_what_was_captured_before_a_partition_was_lost_is_worth_nothing_and_what_comes_after_it_is(
    make_group: Callable[..., Group],
) -> None:
    group = make_group()
    captured = group.owned().metadata
    other = group.join()
    try:
        # Two members and one partition: one of them has none, and is a member all the same.
        wait_until(lambda: is_checked_metadata(other.owned().metadata) and group.member.owned().metadata != captured)
        wait_until(lambda: len(group.member.owned().partitions | other.owned().partitions) == 1)
        without = next(member for member in (group.member, other) if not member.owned().partitions)
        group.write_unchecked(without.owned().metadata, 3)
        assert group.committed() == 3  # the broker does not ask whose the partition is: capturing early is what helps
        with pytest.raises(Fenced, match="ILLEGAL_GENERATION"):
            group.write(captured, 9)
        assert group.committed() == 3
    finally:
        other.close()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "the group did not come to rest"
        time.sleep(0.02)


def test_a_group_of_the_consumer_protocol_refuses_ghosts_itself(make_group: Callable[..., Group]) -> None:
    group = make_group(**{"group.protocol": "consumer"})
    group.write(group.owned().metadata, 1)
    ghost = group.ghost()
    with pytest.raises(KafkaException, match="UNKNOWN_MEMBER_ID"):
        group.write_unchecked(ghost.consumer_group_metadata(), 9)
    with pytest.raises(Fenced):
        group.write(ghost.consumer_group_metadata(), 9)
    assert group.committed() == 1
    ghost.close()


@pytest.mark.parametrize("offset", [-1001, -1, -2])
def test_an_offset_that_is_none_would_commit_without_a_fence_and_is_refused(
    make_group: Callable[..., Group], offset: int
) -> None:
    group = make_group()
    owned = group.owned()
    group.write(owned.metadata, 1)
    end = group.end()
    with pytest.raises(LogError, match="offset"):
        group.write(owned.metadata, offset)
    assert group.committed() == 1
    assert group.end() <= end + 1  # at most the marker of an abort
