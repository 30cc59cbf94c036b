"""Records and handlers that nobody wants: each fails its own command or aggregate, and the partition goes on, now and after a restart."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Self

import pytest
from confluent_kafka import Message
from pydantic import Field

from eventsource.commands.dead_letters import DEAD_LETTER_HEADER
from eventsource.commands.failures import code_of, text_of
from eventsource.commands.status import Status
from eventsource.domain import Aggregate, Event, creates
from eventsource.errors import DecodeError
from eventsource.log.events import EventDecoder
from eventsource.log.header_reading import read_outcome_headers
from eventsource.log.headers import EventHeaders, Origin, Trail, event_headers
from eventsource.log.partitioner import partition_for, short_key
from eventsource.log.record import UNREADABLE_HEADERS, Outgoing, Record, record_of
from eventsource.schemas import MemorySchemaStore, MessageCodec
from tests.unit.test_commands_handling import KEY, NOW_MS, PARTITION, Open, Partition, Withdraw, statuses

OUTCOMES, DEAD_LETTERS = "bank.account.outcomes", "bank.account.dead-letters"
LIMIT = 900_000


@pytest.fixture
def partition() -> Partition:
    return Partition()


def with_headers(record: Record, **changes: bytes | None) -> Record:
    """The record with these headers in place of its own, or besides."""
    return record._replace(headers=[*{**dict(record.headers), **changes}.items()])


def size_bytes(record: Record) -> int:
    return Outgoing(record.topic, record.partition, record.key, record.value or b"", record.headers).size_bytes


def largest(partition: Partition) -> int:
    return max(size_bytes(record) for records in partition.log.values() for record in records)


def dead_letter(record: Record) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(dict(record.headers)[DEAD_LETTER_HEADER] or b"")
    return found


HEADERS: dict[str, dict[str, bytes | None]] = {
    "a null header of somebody else's": {"x-tenant": None, "ce_type": b"nope"},
    "a null es": {"es": None},
    "a null id": {"ce_id": None},
    "a null type": {"ce_type": None},
    "a null source": {"ce_source": None},
    "a type that is no text": {"ce_type": b"\xff"},
    "a type as long as a record": {"ce_type": b"t" * LIMIT},
    "an id of more bytes than characters": {"ce_id": "é".encode() * 1_000},
    "a traceparent that is no text": {"traceparent": b"\xff\xfe", "ce_type": b"nope"},
    "a traceparent as long as a record": {"traceparent": b"0" * LIMIT, "ce_type": b"nope"},
}


@pytest.mark.parametrize("headers", HEADERS.values(), ids=HEADERS.keys())
def test_headers_that_cannot_be_used_fail_their_command_alone(
    partition: Partition, headers: dict[str, bytes | None]
) -> None:
    partition.take(with_headers(partition.command(Open(owner="Eve")), **headers))
    assert statuses(partition.take(partition.command(Open(owner="Ada")))) == [Status.ACCEPTED]
    assert [outcome.status for outcome in partition.outcomes()] == [Status.FAILED]
    assert largest(partition) <= LIMIT
    successor = partition.successor()
    assert successor.handling.states.stopped == {}
    assert statuses(successor.take(successor.command(Withdraw(amount=Decimal(1))))) == [Status.ACCEPTED]


def test_a_traceparent_as_long_as_a_record_is_nobodys_and_fails_no_command(partition: Partition) -> None:
    replies = partition.take(with_headers(partition.command(Open(owner="Ada")), traceparent=b"0" * LIMIT))
    assert statuses(replies) == [Status.ACCEPTED]
    assert largest(partition) < 1_000


def test_headers_whose_names_are_no_text_are_left_out_of_the_dead_letter(partition: Partition) -> None:
    partition.take(partition.command(Open(owner="Eve"))._replace(headers=UNREADABLE_HEADERS))
    (letter,) = partition.log[DEAD_LETTERS]
    assert dead_letter(letter)["complete"] is False
    assert letter.value


class UnreadableMessage:
    """As `confluent_kafka.Message` of a header whose name is not UTF-8."""

    def headers(self) -> None:
        raise SystemError("<method 'headers' of 'cimpl.Message' objects> returned a result with an exception set")

    def topic(self) -> str:
        return "t"

    def partition(self) -> int:
        return 3

    def offset(self) -> int:
        return 7

    def timestamp(self) -> tuple[int, int]:
        return 1, 99

    def key(self) -> None:
        return None

    def value(self) -> bytes:
        return b"v"


def test_a_message_whose_headers_cannot_be_read_is_a_record_without_them() -> None:
    message: Any = UnreadableMessage()
    assert not isinstance(message, Message)
    assert record_of(message) == Record("t", 3, 7, 99, b"", b"v", UNREADABLE_HEADERS)


# --- keys that no aggregate may have -----------------------------------------------------------------------------


def key_of(text: bytes) -> bytes:
    """A key of this partition that is somewhat longer than the text."""
    return next(key for key in (b"%d" % number + text for number in range(100)) if partition_for(key, 4) == PARTITION)


LONG_KEYS = {"just too long": key_of(b"k" * 1_024), "as long as a record": key_of("é".encode() * 499_850)}


@pytest.mark.parametrize("key", LONG_KEYS.values(), ids=LONG_KEYS.keys())
@pytest.mark.parametrize("headers", [{}, {"ce_id": None}], ids=["readable headers", "unreadable headers"])
def test_a_key_that_is_too_long_fails_its_command_and_no_record_is_as_long(
    partition: Partition, headers: dict[str, bytes | None], key: bytes
) -> None:
    record = with_headers(partition.command(Open(owner="Eve"), key=key), **headers)
    first = partition.take(record)
    assert all((reply.status, reply.code) == (Status.FAILED, "HeaderError") for reply in first)
    assert partition.events() == []
    assert largest(partition) < 4_096
    for topic in (OUTCOMES, DEAD_LETTERS):
        assert [record.key for record in partition.log[topic]] == [short_key(key)]
    assert dead_letter(partition.log[DEAD_LETTERS][0])["complete"] is False
    successor = partition.successor()
    again = successor.take(record)
    assert [reply.status for reply in again] == [reply.status for reply in first]
    assert successor.outcomes() == partition.outcomes()


def test_a_long_key_is_told_by_its_hash_from_another_and_from_an_aggregate() -> None:
    one, other = b"k" * 2_000, b"k" * 2_001
    assert short_key(one) != short_key(other)
    assert short_key(one).startswith(b"k" * 1_024 + b"#")
    assert len(short_key(one)) == 1_041
    assert short_key(b"k" * 1_024) == b"k" * 1_024


def test_a_command_that_was_found_unwritable_leaves_little(partition: Partition) -> None:
    metadata = {str(number): "x" * 60_000 for number in range(10)}
    command = partition.command(Open(owner="Ada"), trail=Trail(metadata=metadata))
    partition.handling.refuse(command.offset, "the broker takes no record of that size")
    (reply,) = partition.take(command)
    assert (reply.status, reply.code) == (Status.FAILED, "MessageTooLarge")
    assert "the broker takes no record of that size" in reply.details
    assert largest(partition) < 4_096


def test_an_outcome_keeps_a_small_trail_of_a_command_that_was_found_unwritable(partition: Partition) -> None:
    command = partition.command(Open(owner="Ada"), trail=Trail("cor", "", "ada"))
    partition.handling.refuse(command.offset, "the broker takes no record of that size")
    partition.take(command)
    assert read_outcome_headers(partition.log[OUTCOMES][0].headers).trail == Trail("cor", "", "ada")


# --- handlers ----------------------------------------------------------------------------------------------------


class Cut(BaseException):
    """What some libraries end a task by."""


class Unprintable(Exception):
    def __str__(self) -> str:
        raise Cut


def test_an_error_without_a_readable_text_is_told_all_the_same() -> None:
    assert text_of(Unprintable()) == "the error has no readable text"
    assert text_of(Cut("x" * 2_000)) == "x" * 1_000
    assert code_of(type("E" * 100_000, (Exception,), {})()) == "E" * 200


class Filled(Event, name="filled"):
    what: str


raised: list[BaseException] = []


def default() -> int:
    raise raised[-1]


class FilledToday(Event, name="filled"):
    what: str
    since: int = Field(default_factory=default)


class Box(Aggregate, name="box"):
    @creates
    @classmethod
    def on_filled(cls, event: FilledToday) -> Self:
        return cls()


@pytest.mark.parametrize("error", [RuntimeError("no"), SystemExit(3), Cut()], ids=repr)
def test_a_default_that_raises_makes_its_event_unreadable_and_ends_nothing(error: BaseException) -> None:
    raised.append(error)
    schemas = MemorySchemaStore()
    value = MessageCodec(Filled, "filled", schemas).encode(Filled(what="tea"))
    headers = EventHeaders("c", 1, 1, "filled", 1, "/s", 1, Origin(bytes(16), 0, 0), NOW_MS, bytes(8))
    record = Record("t", 0, 5, NOW_MS, KEY, value, event_headers(headers))
    decoder = EventDecoder(Box, schemas)
    with pytest.raises(DecodeError, match=rf"t\[0\]@5: 'filled' cannot be read: a default raised {code_of(error)}"):
        decoder.event(record, headers)
