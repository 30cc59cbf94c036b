from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventsource.errors import EncodeError, HeaderError
from eventsource.log.header_reading import read_command_headers, read_event_headers, read_outcome_headers
from eventsource.log.headers import (
    FLAG_ENCRYPTED_BODY,
    CommandHeaders,
    EventHeaders,
    Origin,
    OutcomeHeaders,
    Trail,
    body_hash,
    command_headers,
    event_headers,
    outcome_headers,
)

TEXTS = st.text(max_size=30)
IDS = st.text(min_size=1, max_size=30)
INT64 = st.integers(-(2**63), 2**63 - 1)
COUNTS = st.integers(0, 2**63 - 1)
PARTITIONS = st.integers(0, 2**31 - 1)
TRAILS = st.builds(Trail, TEXTS, TEXTS, TEXTS, st.dictionaries(IDS, TEXTS, max_size=4))
ORIGINS = st.builds(Origin, st.binary(min_size=16, max_size=16), PARTITIONS, COUNTS)
HASHES = st.binary(min_size=8, max_size=8)
CONTENT_HASHES = st.just(b"") | HASHES
NAMES = st.from_regex(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", fullmatch=True)


def an_event(**changes: object) -> EventHeaders:
    values: dict[str, object] = {
        "command_id": "c-1",
        "index": 1,
        "count": 2,
        "type": "deposited",
        "revision": 1,
        "source": "/bank/account",
        "version": 7,
        "origin": Origin(bytes(range(16)), 3, 42),
        "time_ms": 1_700_000_000_123,
        "body_hash": b"12345678",
    }
    return EventHeaders(**{**values, **changes})  # type: ignore[arg-type]


@given(
    st.builds(
        CommandHeaders,
        IDS,
        IDS,
        IDS,
        INT64,
        st.none() | COUNTS,
        st.none() | PARTITIONS,
        st.binary(min_size=16, max_size=16),
        TRAILS,
        st.none(),
    )
)
def test_command_headers_survive_the_wire(headers: CommandHeaders) -> None:
    assert read_command_headers(command_headers(headers)) == headers


@given(
    st.builds(
        EventHeaders,
        IDS,
        st.integers(1, 100),
        st.integers(1, 100),
        NAMES,
        st.integers(1, 100),
        IDS,
        COUNTS,
        ORIGINS,
        INT64,
        HASHES,
        TRAILS,
        CONTENT_HASHES,
    )
)
def test_event_headers_survive_the_wire(headers: EventHeaders) -> None:
    assert read_event_headers(event_headers(headers)) == headers


@given(st.builds(OutcomeHeaders, IDS, NAMES, IDS, COUNTS, ORIGINS, INT64, HASHES, TRAILS, CONTENT_HASHES))
def test_outcome_headers_survive_the_wire(headers: OutcomeHeaders) -> None:
    assert read_outcome_headers(outcome_headers(headers)) == headers


def test_the_bytes_of_an_events_headers_are_those_of_the_reference() -> None:
    headers = dict(event_headers(an_event(trail=Trail(actor="ada"))))
    assert headers == {
        "ce_specversion": b"1.0",
        "ce_id": b"c-1/1.2",
        "ce_source": b"/bank/account",
        "ce_type": b"deposited",
        "ce_sequence": b"00000000000000000007",
        "es": bytes.fromhex(
            "01 00 02 000102030405060708090a0b0c0d0e0f 00000003 000000000000002a 0000018bcfe5687b 3132333435363738"
        )
        + b"\0\0\0\0\0\3ada",
    }


def test_the_bytes_of_a_commands_headers_are_those_of_the_reference() -> None:
    headers = dict(
        command_headers(CommandHeaders("c-1", "deposit", "/bank/client", 1, 7, 3, b"client-id-16byte", Trail("cor")))
    )
    assert (
        headers["es"]
        == bytes.fromhex("01 00 01 0000000000000001 0000000000000007 00000003")
        + b"client-id-16byte"
        + b"\0\3cor\0\0\0\0"
    )


def test_a_later_revision_shows_in_the_type() -> None:
    assert dict(event_headers(an_event(revision=2)))["ce_type"] == b"deposited.v2"


@pytest.mark.parametrize("missing", ["ce_id", "ce_type", "ce_source", "ce_sequence", "es"])
def test_a_missing_header_is_named(missing: str) -> None:
    headers = [(name, value) for name, value in event_headers(an_event()) if name != missing]
    with pytest.raises(HeaderError, match=missing):
        read_event_headers(headers)


def test_an_outcome_without_a_readable_version_is_an_error_and_never_a_crash() -> None:
    fields = dict(outcome_headers(OutcomeHeaders("c", "t", "/s", 1, Origin(bytes(16), 0, 0), 0, bytes(8))))
    fields["ce_sequence"] = b"one"
    with pytest.raises(HeaderError, match="ce_sequence 'one'"):
        read_outcome_headers(list(fields.items()))


@pytest.mark.parametrize("length", range(60))
def test_a_truncated_es_header_is_an_error_and_never_a_crash(length: int) -> None:
    headers = dict(event_headers(an_event(trail=Trail("correlation", "", "ada", {"tenant": "blue"}))))
    headers["es"] = headers["es"][:length]
    with pytest.raises(HeaderError, match="es"):
        read_event_headers(list(headers.items()))


def test_a_command_on_an_events_topic_is_refused() -> None:
    fields = dict(event_headers(an_event()))
    fields["es"] = dict(command_headers(CommandHeaders("c", "t", "s", 0)))["es"] + bytes(30)
    with pytest.raises(HeaderError, match="kind 1"):
        read_event_headers(list(fields.items()))


def test_an_encrypted_body_is_not_taken_for_plain_bytes() -> None:
    fields = dict(event_headers(an_event()))
    fields["es"] = bytes([fields["es"][0], FLAG_ENCRYPTED_BODY]) + fields["es"][2:]
    with pytest.raises(HeaderError, match="encrypted"):
        read_event_headers(list(fields.items()))


def test_an_overlong_text_is_refused_before_it_is_sent() -> None:
    with pytest.raises(EncodeError, match="64 KiB"):
        command_headers(CommandHeaders("c", "t", "s", 0, trail=Trail(actor="a" * 70_000)))


def test_the_body_hash_tells_types_and_bodies_apart() -> None:
    contents = [
        (b"k", "a", b"bc"),
        (b"k", "ab", b"c"),
        (b"k", "a", b"bd"),
        (b"k", "a", b""),
        (b"l", "a", b"bc"),
        (b"ka", "", b"bc"),
    ]
    assert len({body_hash(*content) for content in contents}) == len(contents)


@pytest.mark.parametrize("command_id", ["", "x" * 1_025, "é" * 600])
def test_a_command_id_that_is_empty_or_too_long_is_refused_before_it_is_sent(command_id: str) -> None:
    with pytest.raises(EncodeError, match="command id"):
        command_headers(CommandHeaders(command_id, "t", "s", 0))


def test_an_overlong_command_id_is_not_read() -> None:
    fields = dict(command_headers(CommandHeaders("c", "t", "s", 0)))
    fields["ce_id"] = b"x" * 70_000
    with pytest.raises(HeaderError, match="command id"):
        read_command_headers(list(fields.items()))


@pytest.mark.parametrize("version", [-1, 2**63])
def test_an_expected_version_that_none_can_be_is_refused(version: int) -> None:
    with pytest.raises(EncodeError, match="expected_version"):
        command_headers(CommandHeaders("c", "t", "s", 0, version))
