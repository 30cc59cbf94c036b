"""A transaction that was committed and left without its markers: the doctor says what was decided, and what ends it.

Kafka leaves one behind when a partition has no leader while the coordinator still runs (KAFKA-20734): its log then has PrepareCommit
and CompleteCommit, and the partitions have no marker. Here the owner is killed before its commit, and the coordinator's entries are
written in its name, so that no moment has to be hit.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from eventsource.commands.reply import Reply, topic_crc
from eventsource.commands.status import Status
from eventsource.doctor import Decision, Finding, Hanging, examine
from eventsource.embedded import EmbeddedStack
from eventsource.log.admin import LogAdmin, TopicAndPartition
from eventsource.log.markers import open_transactions, write_marker
from eventsource.log.reader import LogReader
from eventsource.log.steps import Step
from eventsource.log.transaction_state import (
    TRANSACTION_TOPIC,
    TransactionEntry,
    TransactionStatus,
    coordinator_partition,
    read_entry,
)
from eventsource.settings import ClientSettings, KafkaSettings, Settings, WorkerSettings
from tests.faults.ledger import ledger
from tests.faults.plan import Act, Fault
from tests.faults.rig import Rig

pytestmark = pytest.mark.faults

COORDINATOR_PARTITIONS = 4
EVENTS = "lost.ledger.account.events"
_APP = "tests.faults.ledger:ledger"


@pytest.fixture
def stack() -> Iterator[EmbeddedStack]:
    with EmbeddedStack.ephemeral() as started:
        yield started


@pytest.fixture
def own_rig(stack: EmbeddedStack, tmp_path: Path, seed: int) -> Iterator[Rig]:
    settings = Settings(
        _env_file=None,
        namespace="lost",
        kafka=KafkaSettings(bootstrap_servers=stack.bootstrap_servers, session_timeout_seconds=6.0),
        worker=WorkerSettings(batch_size=20),
        client=ClientSettings(timeout_seconds=30.0),
    )
    with Rig(settings, tmp_path, seed) as made:
        yield made


def entries(rig: Rig, transactional_id: str) -> list[TransactionEntry]:
    """What the coordinator wrote down about one id, in order."""
    where = (TRANSACTION_TOPIC, coordinator_partition(transactional_id, COORDINATOR_PARTITIONS))
    config = rig.settings.kafka.client_config()
    with LogAdmin(config) as admin:
        end = admin.end_offsets([where])[where]
    with LogReader(config, committed_only=False) as reader:
        reader.assign({where: 0})
        found = [
            read_entry(record.key, record.value)
            for records in reader.read_to({where: end}, patience_seconds=30)
            for record in records
        ]
    return [entry for entry in found if entry is not None and entry.transactional_id == transactional_id]


def forge(rig: Rig, entry: TransactionEntry, *statuses: TransactionStatus) -> None:
    """Writes entries of a transaction in its coordinator's name: brokers let this client id write to internal topics."""
    producer = Producer({"bootstrap.servers": rig.settings.kafka.bootstrap_servers, "client.id": "__admin_client"})
    id_ = entry.transactional_id.encode()
    topics = sorted({topic for topic, _ in entry.partitions})
    for status in statuses:
        value = struct.pack(">hqhib", 0, entry.producer_id, entry.producer_epoch, 10_000, status)
        places = topics if status is TransactionStatus.PREPARE_COMMIT else []
        value += struct.pack(">i", len(places))
        for topic in places:
            numbers = [number for name, number in entry.partitions if name == topic]
            value += struct.pack(f">h{len(topic)}si{len(numbers)}i", len(topic), topic.encode(), len(numbers), *numbers)
        value += struct.pack(">qq", int(time.time() * 1_000), entry.started_ms)
        producer.produce(
            TRANSACTION_TOPIC,
            value,
            struct.pack(">hh", 0, len(id_)) + id_,
            coordinator_partition(entry.transactional_id, COORDINATOR_PARTITIONS),
        )
    assert producer.flush(30) == 0


def lose_markers(stack: EmbeddedStack, rig: Rig) -> TransactionEntry:
    """Kills a worker before the commit of a batch with events, and leaves that batch decided and without markers."""
    for _ in range(10):
        worker = rig.start(Fault(Step.OFFSETS_SENT, Act.KILL, occurrence=10, partition=0))
        rig.until(lambda worker=worker: worker.exit_code is not None, "the worker to be killed")
        for turn in (0, 1):
            last = entries(rig, f"lost.ledger.account.0.{turn}")[-1]
            if last.status is TransactionStatus.ONGOING and (EVENTS, 0) in last.partitions:
                forge(rig, last, TransactionStatus.PREPARE_COMMIT, TransactionStatus.COMPLETE_COMMIT)
                stack.kill_broker(1)  # its coordinator reads the log again
                stack.start_broker(1)
                return last
    raise AssertionError("no batch had events")


def findings(rig: Rig, rule: str) -> dict[str, Finding]:
    return {each.subject: each for each in examine(ledger, rig.settings).dangers if each.rule == rule}


def hanging(rig: Rig) -> dict[TopicAndPartition, Hanging]:
    return {each.where: each for each in examine(ledger, rig.settings, replay=False).facts.hanging.get()}


def doctor(rig: Rig, *words: str) -> str:
    """What `eventsource doctor` says."""
    command = rig.run("doctor", _APP, "--no-replay", *words)
    command.wait()
    return (rig.folder / f"{command.name}.log").read_text(encoding="utf-8")


def check_named(rig: Rig, lost: TransactionEntry) -> dict[TopicAndPartition, Hanging]:
    rig.until(lambda: set(hanging(rig)) == lost.partitions, f"{sorted(lost.partitions)} to count as hanging")
    found, named = hanging(rig), findings(rig, "hanging-transaction")
    for where, each in found.items():
        assert (each.decision, each.completed) == (Decision.COMMIT, True)
        assert (each.transactional_id, each.producer_id) == (lost.transactional_id, lost.producer_id)
        finding = named[f"{where[0]}[{where[1]}]"]
        assert "its markers were never written (KAFKA-20734)" in finding.problem
        assert f"abort --topic {where[0]} --partition {where[1]} --start-offset {each.offset}`" in finding.mend
    return found


def test_a_commit_without_its_markers_is_named_and_ended_as_the_commit_that_it_is(
    stack: EmbeddedStack, own_rig: Rig
) -> None:
    with own_rig.workload():
        lost = check_named(own_rig, lose_markers(stack, own_rig))
        # Neither a worker nor the fence of its id ends it.
        worker = own_rig.start()
        own_rig.until(lambda: worker.told("owner_returns_to_committed_state"), "an owner to wait in vain")
        assert set(hanging(own_rig)) == set(lost)
        said = doctor(own_rig, "--end-transactions")
        for topic, number in lost:
            assert f"{topic}[{number}] at offset {lost[topic, number].offset}: ended as the commit" in said
        assert hanging(own_rig) == {}
        assert "ended as" not in doctor(own_rig, "--end-transactions")
    own_rig.check()


def test_what_was_answered_ok_and_aborted_is_named(stack: EmbeddedStack, own_rig: Rig) -> None:
    admin = LogAdmin(own_rig.settings.kafka.client_config())
    with own_rig.workload():
        lost = check_named(own_rig, lose_markers(stack, own_rig))
        offset = lost[EVENTS, 0].offset
        # The answer that its owner gave after the commit.
        reply = Reply("the-command", Status.ACCEPTED, 0, offset, 1, topic_crc=topic_crc("lost.ledger.account.commands"))
        producer = Producer({"bootstrap.servers": stack.bootstrap_servers})
        producer.produce("lost.ledger.replies", reply.encode(), partition=0)
        assert producer.flush(30) == 0
        assert findings(own_rig, "answered-unseen") == {}, "it may be seen yet: that it hangs is said elsewhere"
        for where in lost:  # as `kafka-transactions.sh abort` does
            leader = admin.leader(where)
            (transaction,) = open_transactions(leader, where)
            write_marker(leader, where, transaction, commit=False)
        own_rig.start_ready()
    assert hanging(own_rig) == {}
    found = findings(own_rig, "answered-unseen")
    assert set(found) == {"account[0]"}
    assert f"the-command (offset {offset})" in found["account[0]"].problem
    admin.close()
