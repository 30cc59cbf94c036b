"""What an owner does with appends, loads, failures and broken invariants: all without a server."""

from __future__ import annotations

import json
import struct
from typing import Any, Self

import pytest

from eventsource.app import App
from eventsource.commands.aggregate_codecs import AggregateCodecs
from eventsource.commands.builtin import APPEND, LOAD, pack_events, unpack_events
from eventsource.commands.dead_letters import DEAD_LETTER_HEADER
from eventsource.commands.handled import Handled
from eventsource.commands.handling import CommandHandling
from eventsource.commands.reply import Reply
from eventsource.commands.status import Status
from eventsource.domain import Aggregate, Command, Event, Rejected, applies, creates, decides
from eventsource.domain.invariants import invariant
from eventsource.errors import DecodeError, EncodeError
from eventsource.log.headers import CommandHeaders, command_headers
from eventsource.log.record import Outgoing, Record
from eventsource.schemas import MemorySchemaStore, MessageCodec, StateCodec

NOW_MS = 1_700_000_000_000


class Put(Command, name="put"):
    amount: int


class WasPut(Event, name="was-put"):
    amount: int


class Overfull(Rejected, code="overfull"):
    pass


class Box(Aggregate, name="box"):
    amount: int = 0

    @creates
    @classmethod
    def begin(cls, command: Put) -> WasPut:
        return WasPut(amount=command.amount)

    @creates
    @classmethod
    def on_begun(cls, event: WasPut) -> Self:
        return cls(amount=event.amount)

    @decides
    def put(self, command: Put) -> list[WasPut]:
        return [WasPut(amount=command.amount), WasPut(amount=0)]

    @applies
    def on_put(self, event: WasPut) -> None:
        self.amount += event.amount
        if event.amount == 666:
            raise RuntimeError("half changed")

    @invariant
    def never_negative(self) -> bool:
        return self.amount >= 0

    @invariant
    def never_overfull(self) -> None:
        if self.amount > 1_000:
            raise Overfull


APP = App("store", aggregates=[Box], partitions=1)


class Partition:
    def __init__(self, max_event_bytes: int = 10_000) -> None:
        self.schemas = MemorySchemaStore()
        self.states = StateCodec(Box, self.schemas)
        self.handling = CommandHandling(
            APP,
            Box,
            0,
            names=APP.names(),
            commands_topic_id=b"t" * 16,
            codecs=AggregateCodecs(Box, self.schemas, self.states),
            window_ms=None,
            max_event_bytes=max_event_bytes,
        )
        self.offset = self.written = 0

    def record(self, type_: str, value: bytes, key: str = "b-1", **headers: Any) -> Record:
        self.offset += 1
        made = CommandHeaders(f"c-{self.offset}", type_, "/t", NOW_MS, None, 0, b"c" * 16)._replace(**headers)
        return Record("store.box.commands", 0, self.offset - 1, NOW_MS, key.encode(), value, command_headers(made))

    def put(self, amount: int, key: str = "b-1", **headers: Any) -> Record:
        return self.record("put", MessageCodec(Put, "put", self.schemas).encode(Put(amount=amount)), key, **headers)

    def append(self, version: int | None, *amounts: int, **headers: Any) -> Record:
        codec = MessageCodec(WasPut, "was-put", self.schemas)
        value = pack_events(("was-put", codec.encode(WasPut(amount=amount))) for amount in amounts)
        return self.record(APPEND, value, expected_version=version, **headers)

    def load(self, key: str = "b-1") -> Record:
        return self.record(LOAD, b"", key)

    def take(self, *batch: Record) -> tuple[list[Reply], list[Outgoing]]:
        handled = self.handling.handle(batch)
        return self.commit(handled)

    def commit(self, handled: Handled) -> tuple[list[Reply], list[Outgoing]]:
        records = handled.take()
        self.handling.commit(handled, list(range(self.written, self.written + len(records))))
        self.written += len(records)
        return [reply for _, _, data in self.handling.replies(handled) for reply in Reply.decode_all(data)], records


@pytest.fixture
def partition() -> Partition:
    return Partition()


def topics(records: list[Outgoing]) -> list[str]:
    return [record.topic.rpartition(".")[2] for record in records]


# --- failures ----------------------------------------------------------------------------------------------------


def test_a_failed_command_leaves_an_outcome_and_a_dead_letter_and_hurts_nobody_else(partition: Partition) -> None:
    failing = partition.put(666)
    replies, records = partition.take(partition.put(1), failing, partition.put(2))
    assert [(reply.status, reply.version) for reply in replies] == [
        (Status.ACCEPTED, 1),
        (Status.FAILED, 1),
        (Status.ACCEPTED, 3),
    ]
    assert topics(records) == ["events", "dead-letters", "outcomes", "events", "events"]
    letter = records[1]
    assert (letter.key, letter.value, letter.headers[:-1]) == (failing.key, failing.value, list(failing.headers))
    name, told = letter.headers[-1]
    assert name == DEAD_LETTER_HEADER
    assert json.loads(told) == {
        "error": "RuntimeError",
        "topic": "store.box.commands",
        "partition": 0,
        "offset": failing.offset,
        "time_ms": NOW_MS,
        "complete": True,
    }


def test_a_dead_letter_that_would_be_too_large_is_a_reference(partition: Partition) -> None:
    huge = partition.record("nonsense", b"x" * 20_000)
    _, records = partition.take(huge)
    (letter, _) = records
    assert (letter.value, [name for name, _ in letter.headers]) == (b"", [DEAD_LETTER_HEADER])
    assert json.loads(letter.headers[0][1])["complete"] is False


def test_a_rejection_is_no_dead_letter(partition: Partition) -> None:
    replies, records = partition.take(partition.put(1), partition.put(5_000))
    assert replies[1].code == "overfull"
    assert topics(records) == ["events", "outcomes"]


def test_an_event_that_cannot_be_applied_leaves_the_aggregate_as_it_was(partition: Partition) -> None:
    partition.take(partition.put(1))
    replies, _ = partition.take(partition.put(10), partition.put(666), partition.put(100))
    assert [reply.status for reply in replies] == [Status.ACCEPTED, Status.FAILED, Status.ACCEPTED]
    current = partition.handling.memory.find_aggregate("b-1")
    assert current is not None
    assert (current.state.amount, current.version) == (111, 5)  # type: ignore[attr-defined]


def test_a_broken_invariant_fails_the_command_before_anything_is_written(partition: Partition) -> None:
    partition.take(partition.put(1))
    replies, records = partition.take(partition.put(-5), partition.put(4))
    assert (replies[0].status, replies[0].code) == (Status.FAILED, "InvariantBroken")
    assert "never_negative" in replies[0].details
    assert replies[1].version == 3
    assert topics(records) == ["dead-letters", "outcomes", "events", "events"]


def test_an_invariant_may_reject(partition: Partition) -> None:
    (reply, *_), records = partition.take(partition.put(5_000))
    assert (reply.status, reply.code) == (Status.REJECTED, "overfull")
    assert topics(records) == ["outcomes"]
    assert partition.handling.memory.find_aggregate("b-1") is None


# --- append ------------------------------------------------------------------------------------------------------


def test_an_append_writes_the_callers_events_at_the_expected_version_alone(partition: Partition) -> None:
    replies, records = partition.take(
        partition.append(0, 1, 2), partition.append(0, 3), partition.append(2, 4), partition.append(2, 5)
    )
    assert [(reply.status, reply.version) for reply in replies] == [
        (Status.ACCEPTED, 2),
        (Status.VERSION_CONFLICT, 2),
        (Status.ACCEPTED, 3),
        (Status.VERSION_CONFLICT, 3),
    ]
    assert topics(records) == ["events", "events", "outcomes", "events", "outcomes"]


def test_an_append_is_checked_like_any_command(partition: Partition) -> None:
    (broken, unversioned, unknown), _ = partition.take(
        partition.append(0, -1),
        partition.append(None, 1),
        partition.record(APPEND, pack_events([("moved", b"\xc3\x01")]), expected_version=0),
    )
    assert (broken.status, broken.code) == (Status.FAILED, "InvariantBroken")
    assert (unversioned.status, unversioned.code) == (Status.FAILED, "HeaderError")
    assert (unknown.status, unknown.code) == (Status.FAILED, "DecodeError")


def test_an_append_sent_again_is_answered_and_not_written_again(partition: Partition) -> None:
    first = partition.append(0, 1, command_id="same")
    again = partition.append(0, 1, command_id="same")
    replies, records = partition.take(first, again)
    assert replies[0] == replies[1]
    assert topics(records) == ["events"]


def test_an_event_with_a_field_that_this_worker_does_not_know_is_refused(partition: Partition) -> None:
    class Newer(Event, name="was-put"):
        amount: int
        reason: str = ""

    value = MessageCodec(Newer, "was-put", partition.schemas).encode(Newer(amount=1, reason="new"))
    (reply,), _ = partition.take(partition.record(APPEND, pack_events([("was-put", value)]), expected_version=0))
    assert (reply.status, reply.code) == (Status.FAILED, "DecodeError")
    assert "reason" in reply.details


@pytest.mark.parametrize("cut", [1, 3, 8, 12])
def test_events_that_end_too_early_are_refused(cut: int) -> None:
    data = pack_events([("was-put", b"0123456789")])
    with pytest.raises(DecodeError, match=r"client\.append"):
        list(unpack_events(data[:-cut]))


def test_bytes_behind_the_events_are_refused() -> None:
    with pytest.raises(DecodeError, match="left over"):
        list(unpack_events(pack_events([("was-put", b"0")]) + b"x"))


def test_no_events_and_too_many_are_refused() -> None:
    for count in (0, 1_001):
        with pytest.raises(EncodeError, match="1 to 1000"):
            pack_events([("was-put", b"")] * count)


@pytest.mark.parametrize("count", [0, 1_001, 65_535])
def test_an_append_of_no_events_or_too_many_fails_alone(partition: Partition, count: int) -> None:
    event = MessageCodec(WasPut, "was-put", partition.schemas).encode(WasPut(amount=0))
    name = b"was-put"
    one = struct.pack(">H", len(name)) + name + struct.pack(">I", len(event)) + event
    record = partition.record(APPEND, struct.pack(">H", count) + one * count, expected_version=0)
    (failed, taken), _ = partition.take(record, partition.put(1))
    assert (failed.status, failed.code) == (Status.FAILED, "DecodeError")
    assert "1 to 1000" in failed.details
    assert taken.status == Status.ACCEPTED


# --- load --------------------------------------------------------------------------------------------------------


def test_a_load_is_answered_between_the_commands_around_it_and_leaves_no_trace(partition: Partition) -> None:
    replies, records = partition.take(
        partition.load(), partition.put(1), partition.load(), partition.put(2), partition.load()
    )
    assert [reply.status for reply in replies] == [
        Status.NOT_FOUND,
        Status.ACCEPTED,
        Status.ACCEPTED,
        Status.ACCEPTED,
        Status.ACCEPTED,
    ]
    assert [
        (partition.states.decode(reply.state).amount, reply.version, reply.offset) for reply in (replies[2], replies[4])
    ] == [
        (1, 1, 0),
        (3, 3, 2),
    ]
    assert topics(records) == ["events", "events", "events"]


def test_a_load_is_never_taken_for_a_repetition(partition: Partition) -> None:
    partition.take(partition.put(1))
    first, _ = partition.take(partition.load())
    partition.take(partition.put(2))
    again, _ = partition.take(partition.record(LOAD, b"", command_id="c-2"))
    assert partition.states.decode(first[0].state).amount == 1
    assert partition.states.decode(again[0].state).amount == 3


def test_a_load_of_a_stopped_aggregate_is_told_why(partition: Partition) -> None:
    partition.take(partition.put(1))
    partition.handling.states.stop("b-1", "its log has a gap")
    (reply,), records = partition.take(partition.load())
    assert (reply.status, reply.code) == (Status.FAILED, "ForkDetected")
    assert "its log has a gap" in reply.details
    assert records == []


def test_a_state_too_large_for_a_reply_is_told(partition: Partition, monkeypatch: pytest.MonkeyPatch) -> None:
    partition.take(partition.put(1))
    monkeypatch.setattr(partition.handling, "_max_bytes", 5)
    (reply,), records = partition.take(partition.load())
    assert (reply.status, reply.code, reply.state) == (Status.FAILED, "MessageTooLarge", b"")
    assert records == []


def test_a_batch_ends_where_its_loads_take_enough_memory(partition: Partition) -> None:
    partition.take(partition.put(1))
    batch = [partition.load(), partition.load(), partition.load(), partition.put(1)]
    handled = partition.handling.handle(batch, Handled(max_state_bytes=20))
    assert handled.is_full
    assert handled.next_offset == batch[1].offset + 1
    replies, records = partition.commit(handled)
    assert len(replies) == 2
    assert records == []
