"""A command as its owner meets it, and the replies that wait for the commit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from eventsource.commands.deduplication import Answer
from eventsource.commands.reply import NO_HASH, encode_reply
from eventsource.commands.status import Status
from eventsource.domain import Context
from eventsource.errors import HeaderError
from eventsource.log.header_reading import read_command_headers, read_plain_commands
from eventsource.log.headers import EMPTY_TRAIL, CommandHeaders, body_hash
from eventsource.log.partitioner import MAX_KEY_BYTES, short_key
from eventsource.log.record import Record
from eventsource.log.recorded import time_from_ms
from eventsource.log.texts import nul_fault, shortened, trail_fault

UNREADABLE: Final = "unreadable"
_MAX_TYPE_CHARACTERS: Final = 256


class Request(NamedTuple):
    """A command record, its headers read. `error` is why they, or its key, cannot be used."""

    record: Record
    headers: CommandHeaders
    aggregate_id: str
    body_hash: bytes
    error: HeaderError | None = None


def read_requests(records: list[Record], source: str) -> list[Request]:
    """Reads the headers of commands, as `read_request` does."""
    found = read_plain_commands(records, Request, MAX_KEY_BYTES)
    return [
        read_request(record, source) if request is None else request
        for record, request in zip(records, found, strict=True)
    ]


def read_request(record: Record, source: str) -> Request:
    """Reads a command's headers. It never raises: what cannot be read is named by the place where it stands in the log."""
    key = record.key
    try:
        headers = read_command_headers(record.headers)
    except HeaderError as error:
        headers = CommandHeaders(
            f"{UNREADABLE}/{record.partition}/{record.offset}", UNREADABLE, source, record.timestamp_ms
        )
        return Request(record, headers, short_key(key).decode(errors="replace"), NO_HASH, error)
    digest = body_hash(key, headers.type, record.value or b"")
    if len(key) > MAX_KEY_BYTES:
        unusable = HeaderError(f"a key of {len(key)} bytes: an aggregate id has at most {MAX_KEY_BYTES}")
        return Request(record, headers, short_key(key).decode(errors="replace"), digest, unusable)
    try:
        aggregate_id = key.decode()
    except UnicodeDecodeError:
        unusable = HeaderError(f"key {key!r} is not UTF-8: an aggregate id is a text")
        return Request(record, headers, key.decode(errors="replace"), digest, unusable)
    return tuple.__new__(Request, (record, headers, aggregate_id, digest, _text_error(aggregate_id, headers)))


def _text_error(aggregate_id: str, headers: CommandHeaders) -> HeaderError | None:
    """What is wrong with the texts of a command that its events would carry on."""
    fault = nul_fault(aggregate_id)
    if fault is not None:
        return HeaderError(f"the aggregate id {shortened(aggregate_id)} {fault}")
    fault = nul_fault(headers.command_id)
    if fault is not None:
        return HeaderError(f"the command id {shortened(headers.command_id)} {fault}")
    fault = trail_fault(headers.trail)
    return None if fault is None else HeaderError(fault)


def without_extras(request: Request) -> Request:
    """The request with no more headers than an outcome must have, and no more of its type than 256 characters."""
    headers = request.headers
    type_ = headers.type[:_MAX_TYPE_CHARACTERS]
    return request._replace(headers=headers._replace(type=type_, trail=EMPTY_TRAIL, traceparent=None))


def context_of(request: Request, version: int) -> Context:
    """What a decider may know of a command besides its content."""
    trail, command_id = request.headers.trail, request.headers.command_id
    return Context(
        id=request.aggregate_id,
        version=version,
        time=time_from_ms(request.record.timestamp_ms),
        command_id=command_id,
        correlation_id=trail.correlation_id or command_id,
        actor=trail.actor or None,
        metadata=trail.metadata,
    )


@dataclass(slots=True, init=False)
class PendingReply:
    """A reply that waits for the commit. `reused` answers that the id belongs to another command; `state` answers a load."""

    client_id: bytes
    reply_partition: int
    command_id: str
    body_hash: bytes
    answer: Answer
    reused: bool
    state: bytes

    def __init__(  # written out, as that of `Answer`
        self,
        client_id: bytes,
        reply_partition: int,
        command_id: str,
        body_hash: bytes,
        answer: Answer,
        reused: bool = False,
        state: bytes = b"",
    ) -> None:
        self.client_id = client_id
        self.reply_partition = reply_partition
        self.command_id = command_id
        self.body_hash = body_hash
        self.answer = answer
        self.reused = reused
        self.state = state

    def encode(self, partition: int, topic_crc: int) -> bytes:
        """The bytes of the `Reply`, once the batch is committed; `topic_crc` is that of the commands topic."""
        command_id, answer = self.command_id, self.answer
        status = Status.COMMAND_ID_REUSED if self.reused else answer.status
        return encode_reply(
            command_id,
            status,
            partition,
            answer.offset,
            answer.version,
            answer.code,
            answer.details,
            self.state,
            topic_crc,
            self.body_hash,
        )
