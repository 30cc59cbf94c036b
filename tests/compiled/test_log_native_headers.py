"""The compiled readers and writers of headers do what those of `headers.py` and `header_reading.py` do, byte by byte and error by error."""

from __future__ import annotations

import copy
import hashlib
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eventsource.commands.request import read_request, read_requests
from eventsource.errors import HeaderError
from eventsource.log import native_headers
from eventsource.log.header_reading import read_command_headers, read_event_headers
from eventsource.log.headers import (
    CommandHeaders,
    EventHeaders,
    Origin,
    Trail,
    body_hash,
    command_headers,
    event_headers,
    fact_headers,
)
from eventsource.log.native_headers import raw_headers
from eventsource.log.record import Outgoing, Record

Pairs = list[tuple[str, bytes | None]]

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(max_size=20)
TRAILS = st.builds(
    Trail,
    correlation_id=TEXTS,
    causation_id=TEXTS,
    actor=TEXTS,
    metadata=st.dictionaries(st.text(min_size=1, max_size=5), TEXTS, max_size=2),
) | st.just(Trail())
COMMANDS = st.builds(
    CommandHeaders,
    command_id=st.text(min_size=1, max_size=40),
    type=TEXTS,
    source=TEXTS,
    sent_at_ms=INT64,
    expected_version=st.none() | st.integers(0, 2**63 - 1),
    reply_partition=st.none() | st.integers(0, 2**31 - 1),
    client_id=st.binary(min_size=16, max_size=16),
    trail=TRAILS,
    traceparent=st.none() | st.binary(max_size=600),
)
EVENTS = st.builds(
    EventHeaders,
    command_id=st.text(min_size=1, max_size=40),
    index=st.integers(0, 2**40),
    count=st.integers(0, 2**40),
    type=TEXTS,
    revision=st.integers(1, 10**6),
    source=TEXTS,
    version=st.integers(0, 2**63 - 1),
    origin=st.builds(Origin, st.binary(min_size=16, max_size=16), st.integers(-(2**31), 2**31 - 1), INT64),
    time_ms=INT64,
    body_hash=st.binary(min_size=8, max_size=8),
    trail=TRAILS,
    content_hash=st.just(b"") | st.binary(min_size=8, max_size=8),
)
NAMES = st.sampled_from(["es", "es_content", "ce_id", "ce_type", "ce_source", "ce_sequence", "traceparent", "x", "ö"])
VALUES = (
    st.none() | st.binary(max_size=70) | st.sampled_from([b"a/1.2", b"a/b/1.2.3", b"/.", b"t.v2", b"t.v", b"+1", b" 7"])
)


def damaged(pairs: Pairs, draw: Callable[[Any], Any]) -> Pairs:
    """With some header lost, doubled, exchanged, cut or changed in a byte."""
    pairs = list(pairs)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, max(0, len(pairs) - 1)))
        match draw(st.sampled_from(["lose", "add", "value", "cut", "byte"])):
            case "lose" if pairs:
                pairs.pop(at)
            case "value" if pairs:
                pairs[at] = pairs[at][0], draw(VALUES)
            case "cut" if pairs and pairs[at][1]:
                pairs[at] = pairs[at][0], pairs[at][1][: draw(st.integers(0, len(pairs[at][1])))]  # type: ignore[arg-type,index]
            case "byte" if pairs and pairs[at][1]:
                changed = bytearray(pairs[at][1] or b"")
                changed[draw(st.integers(0, len(changed) - 1))] = draw(st.integers(0, 255))
                pairs[at] = pairs[at][0], bytes(changed)
            case _:
                pairs.insert(at, (draw(NAMES), draw(VALUES)))
    return pairs


def told(read: Callable[[Any], Any], headers: Any) -> Any:
    try:
        return read(headers)
    except HeaderError as error:
        return str(error)


@settings(max_examples=500)
@given(COMMANDS, st.data())
def test_command_headers_are_read_as_by_the_reference(headers: CommandHeaders, data: st.DataObject) -> None:
    pairs = damaged([*command_headers(headers)], data.draw)
    assert told(read_command_headers, raw_headers(pairs)) == told(read_command_headers, pairs)


@settings(max_examples=500)
@given(EVENTS, st.data())
def test_event_headers_are_read_as_by_the_reference(headers: EventHeaders, data: st.DataObject) -> None:
    pairs = damaged([*event_headers(headers)], data.draw)
    assert told(read_event_headers, raw_headers(pairs)) == told(read_event_headers, pairs)


@given(st.lists(COMMANDS, max_size=4), st.binary(max_size=1_100), st.none() | st.binary(max_size=300), st.data())
@example([], b"\xff", None, None)
def test_requests_are_read_together_as_one_by_one(
    commands: list[CommandHeaders], key: bytes, value: bytes | None, data: st.DataObject | None
) -> None:
    records = []
    for offset, headers in enumerate(commands):
        pairs = damaged([*command_headers(headers)], data.draw) if data is not None else []
        records.append(Record("t", 3, offset, 99, key, value, raw_headers(pairs)))
    found, wanted = read_requests(records, "/s"), [read_request(record, "/s") for record in records]
    assert [each[1:4] for each in found] == [each[1:4] for each in wanted]
    assert [str(each.error) for each in found] == [str(each.error) for each in wanted]
    assert all(each.record is record for each, record in zip(found, records, strict=True))


@pytest.mark.parametrize(
    ("key", "command_id", "trail"),
    [
        (b"a\0", "c", Trail()),
        (b"\0", "c", Trail()),
        (b"a", "c\0", Trail()),
        (b"a", "c", Trail("\0")),
        (b"a", "c", Trail("", "x\0")),
        (b"a", "c", Trail(actor="x\0y")),
        (b"a", "c", Trail(metadata={"\0": "x"})),
        (b"a", "c", Trail(metadata={"x": "\0"})),
    ],
)
def test_a_text_that_postgres_cannot_hold_is_an_error_of_its_command(key: bytes, command_id: str, trail: Trail) -> None:
    pairs = [*command_headers(CommandHeaders(command_id, "deposit", "/s", 7, trail=trail))]
    record = Record("t", 3, 5, 99, key, b"", raw_headers(pairs))
    (found,) = read_requests([record], "/s")
    wanted = read_request(record._replace(headers=pairs), "/s")
    assert found[1:4] == wanted[1:4]
    assert str(found.error) == str(wanted.error)
    assert "holds a NUL character" in str(found.error)


@pytest.mark.parametrize(
    "digits",
    [b"9223372036854775807", b"9223372036854775808", b"18446744073709551617", b"00000000000000000007", b"9" * 30, b""],
)
@pytest.mark.parametrize("name", ["ce_sequence", "ce_id", "ce_type"])
def test_numbers_beyond_64_bits_are_those_of_the_reference(name: str, digits: bytes) -> None:
    headers = EventHeaders("c", 1, 1, "t", 1, "/s", 1, Origin(bytes(16), 0, 0), 0, bytes(8))
    value = {"ce_sequence": digits, "ce_id": b"c/%b.%b" % (digits, digits), "ce_type": b"t.v" + digits}[name]
    pairs = [(each, value if each == name else old) for each, old in event_headers(headers)]
    assert told(read_event_headers, raw_headers([*pairs])) == told(read_event_headers, pairs)


def test_what_is_plainly_right_needs_no_reference() -> None:
    headers = CommandHeaders("c", "deposit", "/s", 7, 3, 1, bytes(range(16)), Trail(actor="Ada"), b"00-trace")
    raw = raw_headers([*command_headers(headers)])
    assert native_headers.read_command(raw, CommandHeaders, Trail(), lambda *_: headers.trail) == headers
    event = EventHeaders("c/d", 2, 3, "deposited", 4, "/s", 9, Origin(bytes(16), 5, 6), 7, b"12345678")
    raw = raw_headers([*event_headers(event)])
    assert native_headers.read_event(raw, EventHeaders, Origin, event.trail, lambda *_: event.trail) == event


@given(st.lists(st.tuples(st.text(max_size=8), st.none() | st.binary(max_size=20)), max_size=6))
def test_raw_headers_are_a_sequence_of_their_pairs(pairs: Pairs) -> None:
    raw = raw_headers(pairs)
    assert (len(raw), list(raw), [*raw], repr(raw)) == (len(pairs), pairs, pairs, repr(pairs))
    assert raw == pairs
    assert raw == tuple(pairs)
    assert raw != [*pairs, ("more", b"")]
    assert [raw[index] for index in range(len(pairs))] == pairs
    assert raw[-1:] == pairs[-1:]
    assert dict(raw) == dict(pairs)


@settings(max_examples=300)
@given(st.binary(max_size=600), st.text(max_size=200), st.binary(max_size=600))
def test_the_body_hash_is_the_librarys(key: bytes, type_: str, body: bytes) -> None:
    text = len(key).to_bytes(4, "big") + key + type_.encode() + b"\0" + body
    assert body_hash(key, type_, body) == hashlib.blake2b(text, digest_size=8).digest()


@pytest.mark.parametrize("size", [122, 123, 124, 250, 251, 252, 100_000])
def test_the_body_hash_is_the_librarys_at_the_ends_of_its_blocks(size: int) -> None:
    test_the_body_hash_is_the_librarys.hypothesis.inner_test(b"", "", bytes(size))  # type: ignore[attr-defined]


@given(st.text(max_size=60), st.integers(0, 2**63 - 1), st.binary(max_size=60))
def test_the_headers_of_facts_are_the_references(ce_id: str, version: int, es: bytes) -> None:
    source, ce_type = ("ce_source", b"/s"), ("ce_type", b"t")
    # With a traceparent it is the reference that writes them.
    wanted = fact_headers(source, ce_type, ce_id, version, es, b"trace")[:-1]
    assert fact_headers(source, ce_type, ce_id, version, es) == wanted


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_raw_headers_may_be_copied(copied: Callable[[Any], Any]) -> None:
    made = fact_headers(("ce_source", b"/s"), ("ce_type", b"t"), "c-1/1.1", 5, b"\0es")
    for each in (made, Outgoing("t", 0, b"k", b"v", made), Record("t", 0, 1, 2, b"k", b"v", made)):
        twin = copied(each)
        assert twin == each
        assert twin is not each
        del twin  # each has a block of its own to free
    assert dict(made)["es"] == b"\0es"


def test_a_header_that_is_no_pair_is_refused() -> None:
    for source, ce_type in (((), ("ce_type", b"t")), (("ce_source", b"/s"), ("ce_type",))):
        with pytest.raises(TypeError, match="pair"):
            native_headers.fact_headers(source, ce_type, "c-1/1.1", 5, b"es")  # type: ignore[arg-type]


def test_what_is_no_record_is_refused() -> None:
    with pytest.raises(TypeError, match="Record"):
        native_headers.read_requests([("t",)], tuple, CommandHeaders, Trail(), lambda *_: Trail(), 10)  # type: ignore[list-item]
