"""The headers of commands, events and outcomes, as `docs/wire.md` describes them, and how they are written.

CloudEvents 1.0 in binary mode, and one binary header `es` (big-endian) for what CloudEvents has no place for. Headers are few,
since every one costs time on both sides.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from eventsource.errors import EncodeError
from eventsource.log.record import Headers

_native: Any  # a module is never None to mypyc, which would take what follows from that for certain
try:
    from eventsource.log import native_headers as _native
except ImportError:  # it was not compiled
    _native = None

SPEC_VERSION: Final = b"1.0"
ES_VERSION: Final = 1
FLAG_ENCRYPTED_BODY: Final = 0x01  # reserved: nothing sets it yet, and a reader that meets it must not read the body
KIND_COMMAND: Final = 1
KIND_EVENT: Final = 2
KIND_OUTCOME: Final = 3
BODY_HASH_BYTES: Final = 8
MAX_COMMAND_ID_BYTES: Final = 1_024
MAX_TEXT_BYTES: Final = 0xFFFF
"""The longest correlation id, causation id, actor, and name or value of metadata: a uint16 counts them."""
NO_CLIENT: Final = bytes(16)
CONTENT_HASH: Final = "es_content"  # there only where it differs from the body hash
TRACE_PARENT: Final = "traceparent"  # W3C Trace Context; there only when the trace is sampled
_SPEC_VERSION_HEADER: Final = ("ce_specversion", SPEC_VERSION)
NO_TRAIL_BYTES: Final = bytes(6)  # three empty texts

PREFIX = struct.Struct(">BBB")  # version, flags, kind
COMMAND_FIXED = struct.Struct(
    ">BBBqqi16s"
)  # … sent at (ms), expected version (-1: any), reply partition (-1: none), client id
EVENT_FIXED = struct.Struct(">BBB16siqq8s")  # … origin topic id, partition, offset, event time (ms), body hash
TEXT_LENGTH = struct.Struct(">H")


@dataclass(frozen=True, slots=True)
class Trail:
    """Who and what led to a message: flows from command to event. Empty correlation or causation means the command's own id."""

    correlation_id: str = ""
    causation_id: str = ""
    actor: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


EMPTY_TRAIL: Final = Trail()


def make_trail(correlation_id: str, causation_id: str, actor: str, metadata: Mapping[str, str] | None) -> Trail:
    """The trail of these; the shared empty one, which costs nothing to write, where all are empty."""
    if not (correlation_id or causation_id or actor or metadata):
        return EMPTY_TRAIL
    return Trail(correlation_id, causation_id, actor, metadata or {})


class Origin(NamedTuple):
    """Where the command stands in the log that caused an event or outcome. `topic_id` are the 16 bytes of Kafka's topic id."""

    topic_id: bytes
    partition: int
    offset: int


class CommandHeaders(NamedTuple):
    """The headers of a command. `sent_at_ms` is the sender's clock, set once and repeated when the command is sent again."""

    command_id: str
    type: str
    source: str
    sent_at_ms: int
    expected_version: int | None = None
    reply_partition: int | None = None
    client_id: bytes = NO_CLIENT
    trail: Trail = EMPTY_TRAIL
    traceparent: bytes | None = None


@dataclass(slots=True, init=False)
class EventHeaders:
    """The headers of an event. `index` of `count`, from 1: event i of the n that one command left."""

    command_id: str
    index: int
    count: int
    type: str
    revision: int
    source: str
    version: int
    origin: Origin
    time_ms: int
    body_hash: bytes
    trail: Trail
    content_hash: bytes
    """The hash over the canonical form of the command's value; empty where it is the body hash."""

    def __init__(  # written out: compiled, it is half of the one that is made at run time
        self,
        command_id: str,
        index: int,
        count: int,
        type: str,
        revision: int,
        source: str,
        version: int,
        origin: Origin,
        time_ms: int,
        body_hash: bytes,
        trail: Trail = EMPTY_TRAIL,
        content_hash: bytes = b"",
    ) -> None:
        self.command_id = command_id
        self.index = index
        self.count = count
        self.type = type
        self.revision = revision
        self.source = source
        self.version = version
        self.origin = origin
        self.time_ms = time_ms
        self.body_hash = body_hash
        self.trail = trail
        self.content_hash = content_hash

    @property
    def ce_id(self) -> str:
        """`<command id>/<i>.<n>`."""
        return event_id(self.command_id, self.index, self.count)


@dataclass(frozen=True, slots=True)
class OutcomeHeaders:
    """The headers of an outcome: the one record of a command that left no event."""

    command_id: str
    type: str
    source: str
    version: int
    origin: Origin
    time_ms: int
    body_hash: bytes
    trail: Trail = EMPTY_TRAIL
    content_hash: bytes = b""


def body_hash(key: bytes, type_: str, body: bytes) -> bytes:
    """The 8-byte BLAKE2b hash of a command's key, type and value: tells a repetition from another command under the same id."""
    if _native is not None:
        digest: bytes = _native.body_hash(key, type_, body)
        return digest
    return blake2b(
        b"%b%b%b\0%b" % (len(key).to_bytes(4, "big"), key, type_.encode(), body), digest_size=BODY_HASH_BYTES
    ).digest()


# --- writing -----------------------------------------------------------------------------------------------------


def command_headers(headers: CommandHeaders) -> list[tuple[str, bytes]]:
    """The Kafka headers of a command.

    Raises `EncodeError` when the command id is empty or longer than 1,024 bytes, another text longer than 65,535, or the
    expected version negative or beyond 63 bits.
    """
    command_id = headers.command_id.encode()
    if not 0 < len(command_id) <= MAX_COMMAND_ID_BYTES:
        raise EncodeError(f"a command id of {len(command_id)} bytes: give one of 1 to {MAX_COMMAND_ID_BYTES} bytes")
    if headers.expected_version is not None and not 0 <= headers.expected_version < 2**63:
        raise EncodeError(
            f"expected_version={headers.expected_version}: give the version that was read, 0 for an aggregate that does not exist "
            "yet, or leave it out"
        )
    es = COMMAND_FIXED.pack(
        ES_VERSION,
        0,
        KIND_COMMAND,
        headers.sent_at_ms,
        -1 if headers.expected_version is None else headers.expected_version,
        -1 if headers.reply_partition is None else headers.reply_partition,
        headers.client_id,
    ) + trail_bytes(headers.trail)
    written = [
        _SPEC_VERSION_HEADER,
        ("ce_id", command_id),
        ("ce_source", headers.source.encode()),
        ("ce_type", headers.type.encode()),
        ("es", es),
    ]
    if headers.traceparent is not None:
        written.append((TRACE_PARENT, headers.traceparent))
    return written


def fact_headers(
    source: tuple[str, bytes],
    ce_type: tuple[str, bytes],
    ce_id: str,
    version: int,
    es: bytes,
    traceparent: bytes | None = None,
) -> Headers:
    """The headers of an event or outcome. `source` and `ce_type` are what `source_header` and `type_header` made once for all."""
    if _native is not None and traceparent is None:
        made: Headers = _native.fact_headers(source, ce_type, ce_id, version, es)
        return made
    written: list[tuple[str, bytes]] = [
        _SPEC_VERSION_HEADER,
        ("ce_id", ce_id.encode()),
        source,
        ce_type,
        ("ce_sequence", b"%020d" % version),
        ("es", es),
    ]
    if traceparent is not None:
        written.append((TRACE_PARENT, traceparent))
    return written


def event_id(command_id: str, index: int, count: int) -> str:
    """The `ce_id` of event `index` (from 1) of `count` of a command."""
    return f"{command_id}/{index}.{count}"


def source_header(source: str) -> tuple[str, bytes]:
    """The `ce_source` header."""
    return "ce_source", source.encode()


def type_header(type_: str, revision: int = 1) -> tuple[str, bytes]:
    """The `ce_type` header: the message's name, and its revision from the second on."""
    return "ce_type", (type_ if revision == 1 else f"{type_}.v{revision}").encode()


def event_es(topic_id: bytes, partition: int, offset: int, time_ms: int, body_hash: bytes, trail: bytes) -> bytes:
    """The `es` header of all events of one command; topic id, partition and offset are the command's, `trail` its `trail_bytes`."""
    return EVENT_FIXED.pack(ES_VERSION, 0, KIND_EVENT, topic_id, partition, offset, time_ms, body_hash) + trail


def outcome_es(topic_id: bytes, partition: int, offset: int, time_ms: int, body_hash: bytes, trail: Trail) -> bytes:
    """The `es` header of a command's outcome; topic id, partition and offset are the command's."""
    fixed = EVENT_FIXED.pack(ES_VERSION, 0, KIND_OUTCOME, topic_id, partition, offset, time_ms, body_hash)
    return fixed + trail_bytes(trail)


def event_headers(headers: EventHeaders) -> Headers:
    """The Kafka headers of an event, written from scratch."""
    es = event_es(*headers.origin, headers.time_ms, headers.body_hash, trail_bytes(headers.trail))
    ce_type = type_header(headers.type, headers.revision)
    written = fact_headers(source_header(headers.source), ce_type, headers.ce_id, headers.version, es)
    return with_content_hash(written, headers.content_hash)


def outcome_headers(headers: OutcomeHeaders) -> Headers:
    """The Kafka headers of an outcome, written from scratch."""
    es = outcome_es(*headers.origin, headers.time_ms, headers.body_hash, headers.trail)
    source, ce_type = source_header(headers.source), type_header(headers.type)
    written = fact_headers(source, ce_type, headers.command_id, headers.version, es)
    return with_content_hash(written, headers.content_hash)


def with_content_hash(headers: Headers, content_hash: bytes) -> Headers:
    """The headers of an event or outcome with this hash, if it is not empty. Readers of earlier versions ignore it."""
    return [*headers, (CONTENT_HASH, content_hash)] if content_hash else headers


def trail_bytes(trail: Trail) -> bytes:
    """A trail as `es` headers end with it. Raises `EncodeError` for a text of more than 65,535 bytes."""
    if trail is EMPTY_TRAIL:
        return NO_TRAIL_BYTES
    texts = [trail.correlation_id, trail.causation_id, trail.actor]
    for name, value in trail.metadata.items():
        texts.append(name)
        texts.append(value)
    return b"".join([_text_bytes(text) for text in texts])


def _text_bytes(text: str) -> bytes:
    if not text:
        return b"\0\0"
    data = text.encode()
    if len(data) > MAX_TEXT_BYTES:
        raise EncodeError(
            f"a header text of {len(data)} bytes is too long: keep ids, actor and metadata below 64 KiB each"
        )
    return TEXT_LENGTH.pack(len(data)) + data
