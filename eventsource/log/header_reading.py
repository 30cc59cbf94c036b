"""Reading the headers of commands, events and outcomes, and saying what is wrong with those that cannot be used."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

from eventsource.errors import HeaderError
from eventsource.log.headers import (
    BODY_HASH_BYTES,
    COMMAND_FIXED,
    CONTENT_HASH,
    EMPTY_TRAIL,
    ES_VERSION,
    EVENT_FIXED,
    FLAG_ENCRYPTED_BODY,
    KIND_COMMAND,
    KIND_EVENT,
    KIND_OUTCOME,
    MAX_COMMAND_ID_BYTES,
    NO_TRAIL_BYTES,
    PREFIX,
    TEXT_LENGTH,
    TRACE_PARENT,
    CommandHeaders,
    EventHeaders,
    Origin,
    OutcomeHeaders,
    Trail,
)
from eventsource.log.record import Headers, Record
from eventsource.log.texts import trail_fault

_native: Any  # a module is never None to mypyc, which would take what follows from that for certain
try:
    from eventsource.log import native_headers as _native
except ImportError:  # it was not compiled
    _native = None

R = TypeVar("R")

_MAX_TRACE_PARENT_BYTES: Final = 512  # today's have 55, later ones may be longer; a longer header is nobody's


def read_command_headers(headers: Headers) -> CommandHeaders:
    """The headers of a command record. Raises `HeaderError` naming what is missing or malformed."""
    if _native is not None and isinstance(headers, _native.RawHeaders):
        read: CommandHeaders | None = _native.read_command(headers, CommandHeaders, EMPTY_TRAIL, _read_trail)
        if read is not None:
            return read
    # Read once per command: the fast way first, and a slower look only at what it stumbles over, such as a null.
    fields: dict[str, bytes] = dict(headers)  # type: ignore[arg-type]
    try:
        es = fields["es"]
        version, flags, kind, sent_at_ms, expected, reply_partition, client_id = COMMAND_FIXED.unpack_from(es)
        if version != ES_VERSION or kind != KIND_COMMAND or flags:
            raise _command_header_error(fields)
        id_bytes = fields["ce_id"]
        command_id = id_bytes.decode()
        traceparent = fields.get(TRACE_PARENT)
        if traceparent is not None and len(traceparent) > _MAX_TRACE_PARENT_BYTES:
            traceparent = None
        found: CommandHeaders = tuple.__new__(
            CommandHeaders,
            (
                command_id,
                fields["ce_type"].decode(),
                fields["ce_source"].decode(),
                sent_at_ms,
                None if expected < 0 else expected,
                None if reply_partition < 0 else reply_partition,
                client_id,
                EMPTY_TRAIL if es[COMMAND_FIXED.size :] == NO_TRAIL_BYTES else _read_trail(es, COMMAND_FIXED.size),
                traceparent,
            ),
        )
    except (KeyError, AttributeError, TypeError, UnicodeDecodeError, struct.error):
        raise _command_header_error(fields) from None
    if not 0 < len(id_bytes) <= MAX_COMMAND_ID_BYTES:
        raise HeaderError(f"a command id of {len(id_bytes)} bytes: give one of 1 to {MAX_COMMAND_ID_BYTES} bytes")
    return found


def read_plain_commands(records: list[Record], request: type[R], max_key_bytes: int) -> list[R | None]:
    """All these commands at once, as named tuples of record, headers, aggregate id, body hash and None; None for what is unusual.

    Where nothing is compiled, everything is.
    """
    if _native is None:
        return [None] * len(records)
    found: list[R | None] = _native.read_requests(
        records, request, CommandHeaders, EMPTY_TRAIL, _read_storable_trail, max_key_bytes
    )
    return found


def _command_header_error(fields: Mapping[str, bytes | None]) -> HeaderError:
    try:
        _es(fields, KIND_COMMAND, COMMAND_FIXED.size)
        for name in ("ce_id", "ce_type", "ce_source"):
            _text(fields, name)
    except HeaderError as error:
        return error
    return HeaderError("a command's headers cannot be read: write them as docs/wire.md says")


def read_event_headers(headers: Headers) -> EventHeaders:
    """The headers of an event record. Raises `HeaderError` naming what is missing or malformed."""
    if _native is not None and isinstance(headers, _native.RawHeaders):
        read: EventHeaders | None = _native.read_event(headers, EventHeaders, Origin, EMPTY_TRAIL, _read_trail)
        if read is not None:
            return read
    fields: dict[str, bytes] = dict(headers)  # type: ignore[arg-type]  # a null is met below
    es = _es(fields, KIND_EVENT, EVENT_FIXED.size)
    _, _, _, topic_id, partition, offset, time_ms, hash_ = EVENT_FIXED.unpack_from(es)
    try:
        ce_id = fields["ce_id"].decode()
        command_id, _, part = ce_id.rpartition("/")
        index, _, count = part.partition(".")
        type_, dot_v, revision = fields["ce_type"].decode().partition(".v")
        return EventHeaders(
            command_id,
            int(index),
            int(count),
            type_,
            int(revision) if dot_v else 1,
            fields["ce_source"].decode(),
            int(fields["ce_sequence"]),
            Origin(topic_id, partition, offset),
            time_ms,
            hash_,
            EMPTY_TRAIL if es[EVENT_FIXED.size :] == NO_TRAIL_BYTES else _read_trail(es, EVENT_FIXED.size),
            _content_hash(fields),
        )
    except (ValueError, KeyError, AttributeError, TypeError):
        raise _event_header_error(fields) from None


def _event_header_error(fields: Mapping[str, bytes | None]) -> HeaderError:
    try:
        ce_id, type_ = _text(fields, "ce_id"), _text(fields, "ce_type")
        _text(fields, "ce_source")
    except HeaderError as error:
        return error
    return HeaderError(
        f"event {ce_id!r} of type {type_!r} has no readable ce_id (<command id>/<i>.<n>), ce_type or ce_sequence: "
        "see docs/wire.md; only the framework may write to an events topic"
    )


def read_outcome_headers(headers: Headers) -> OutcomeHeaders:
    """The headers of an outcome record. Raises `HeaderError` naming what is missing or malformed."""
    fields = dict(headers)
    es = _es(fields, KIND_OUTCOME, EVENT_FIXED.size)
    sequence = _text(fields, "ce_sequence")
    try:
        version = int(sequence)
    except ValueError:
        raise HeaderError(
            f"an outcome has ce_sequence {sequence!r}, which is no version: see docs/wire.md; only the framework may write there"
        ) from None
    _, _, _, topic_id, partition, offset, time_ms, hash_ = EVENT_FIXED.unpack_from(es)
    return OutcomeHeaders(
        command_id=_text(fields, "ce_id"),
        type=_text(fields, "ce_type"),
        source=_text(fields, "ce_source"),
        version=version,
        origin=Origin(topic_id, partition, offset),
        time_ms=time_ms,
        body_hash=hash_,
        trail=_read_trail(es, EVENT_FIXED.size),
        content_hash=_content_hash(fields),
    )


def _content_hash(fields: Mapping[str, bytes | None]) -> bytes:
    value = fields.get(CONTENT_HASH)
    return value if value is not None and len(value) == BODY_HASH_BYTES else b""


def _text(fields: Mapping[str, bytes | None], name: str) -> str:
    value = fields.get(name)
    if value is None:
        raise HeaderError(f"a record has no header {name}: write it as docs/wire.md says")
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise HeaderError(f"header {name} is not UTF-8: write it as docs/wire.md says") from None


def _es(fields: Mapping[str, bytes | None], kind: int, size: int) -> bytes:
    es = fields.get("es")
    if es is None or len(es) < size:
        raise HeaderError("a record has no complete header es: write it as docs/wire.md says")
    version, flags, found = PREFIX.unpack_from(es)
    if version != ES_VERSION or found != kind:
        raise HeaderError(
            f"header es has version {version} and kind {found}, this framework reads version {ES_VERSION} and wants kind {kind} here: "
            "upgrade the reader, or check which topic the record was written to"
        )
    if flags & FLAG_ENCRYPTED_BODY:
        raise HeaderError("a record's body is encrypted and this version cannot read that: upgrade the reader")
    return es


def _read_trail(es: bytes, start: int) -> Trail:
    if len(es) == start + len(NO_TRAIL_BYTES) and es.endswith(NO_TRAIL_BYTES):
        return EMPTY_TRAIL
    texts = list(_read_texts(es, start))
    if len(texts) < 3 or len(texts) % 2 == 0:
        raise HeaderError("header es ends in the middle of correlation, causation, actor or metadata: see docs/wire.md")
    return Trail(texts[0], texts[1], texts[2], dict(zip(texts[3::2], texts[4::2], strict=True)))


def _read_storable_trail(es: bytes, start: int) -> Trail:
    trail = _read_trail(es, start)
    fault = trail_fault(trail)
    if fault is not None:
        raise HeaderError(fault)
    return trail


def _read_texts(es: bytes, at: int) -> Iterable[str]:
    while at < len(es):
        if at + 2 > len(es):
            raise HeaderError("header es ends in the middle of a length: see docs/wire.md")
        (length,) = TEXT_LENGTH.unpack_from(es, at)
        at += 2
        if at + length > len(es):
            raise HeaderError("header es ends in the middle of a text: see docs/wire.md")
        try:
            yield es[at : at + length].decode()
        except UnicodeDecodeError:
            raise HeaderError("a text in header es is not UTF-8: see docs/wire.md") from None
        at += length
