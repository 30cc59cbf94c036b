"""What a command says, and by which hashes it is known again: of its bytes, and of its content, which its writer's schema shows."""

from __future__ import annotations

import pytest

from eventsource.commands.status import Status
from eventsource.errors import AccessDenied, BrokerUnavailable, EventSourceError, FingerprintConflict
from eventsource.log.headers import body_hash
from eventsource.log.record import Record
from eventsource.schemas import written_fingerprint
from eventsource.schemas.schema_text import SchemaText
from tests.counter_log import EVENTS, OUTCOMES, Begin, Count, Counted, Log


@pytest.fixture
def log() -> Log:
    made = Log()
    made.take(made.owner(), made.command("begin-a", Begin(), "a"), made.command("begin-b", Begin(), "b"))
    return made


def refuse_schema(log: Log, patched: pytest.MonkeyPatch, value: bytes | None, error: EventSourceError) -> None:
    """The schema of this value cannot be had; that of others can."""
    refused, get = written_fingerprint(value or b""), log.schemas.get

    def get_or_fail(fingerprint: int, *, patience_seconds: float | None = None) -> SchemaText:
        if fingerprint == refused:
            raise error
        return get(fingerprint, patience_seconds=patience_seconds)

    patched.setattr(log.schemas, "get", get_or_fail)


def with_unknown_prefix(record: Record) -> Record:
    """As a sender writes it that has another schema."""
    value = record.value or b""
    return record._replace(value=value[:2] + b"\x07" * 8 + value[10:])


ERRORS = [FingerprintConflict("another text stands there"), AccessDenied("not authorized")]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_command_of_a_schema_in_conflict_fails_alone(
    log: Log, monkeypatch: pytest.MonkeyPatch, error: EventSourceError
) -> None:
    owner = log.owner()
    strange = with_unknown_prefix(log.command("strange", Count(notes={"b": 1.0, "a": 2.0})))
    refuse_schema(log, monkeypatch, strange.value, error)
    (failed, accepted) = log.take(owner, strange, log.command("count", Count()))
    assert (failed.status, failed.code) == (Status.FAILED, type(error).__name__)
    assert accepted.status is Status.ACCEPTED
    (again,) = log.take(owner, strange)
    assert again.status is Status.FAILED


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_refusal_and_a_used_id_need_no_schema(
    log: Log, monkeypatch: pytest.MonkeyPatch, error: EventSourceError
) -> None:
    owner = log.owner()
    conflicting = with_unknown_prefix(log.command("conflicting", Count(), expected=9))
    used = with_unknown_prefix(log.command("begin-a", Count()))
    refuse_schema(log, monkeypatch, used.value, error)
    replies = log.take(owner, conflicting, used, log.command("count", Count()))
    assert [reply.status for reply in replies] == [
        Status.VERSION_CONFLICT,
        Status.COMMAND_ID_REUSED,
        Status.ACCEPTED,
    ]


def test_a_broker_that_is_away_is_waited_for(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = log.owner()
    strange = with_unknown_prefix(log.command("begin-a", Count()))
    refuse_schema(log, monkeypatch, strange.value, BrokerUnavailable("the schemas topic cannot be read just now"))
    with pytest.raises(BrokerUnavailable):
        log.take(owner, strange)


def test_an_append_of_a_schema_in_conflict_fails_alone(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = log.owner()
    appended = log.command("append", Counted(), expected=1)
    prefix = (log.records[EVENTS][0].value or b"")[:10]
    strange = prefix[:2] + b"\x07" * 8
    assert prefix in (appended.value or b"")
    appended = appended._replace(value=(appended.value or b"").replace(prefix, strange))
    refuse_schema(log, monkeypatch, strange, ERRORS[0])
    replies = log.take(owner, appended, appended, log.command("count", Count()))
    assert [reply.status for reply in replies] == [Status.FAILED, Status.FAILED, Status.ACCEPTED]


def test_an_event_of_a_schema_in_conflict_stops_its_aggregate_alone(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    (begun,) = (record for record in log.records[EVENTS] if record.key == b"a")
    strange = with_unknown_prefix(begun)
    log.records[EVENTS][log.records[EVENTS].index(begun)] = strange
    refuse_schema(log, monkeypatch, strange.value, ERRORS[0])
    owner = log.owner()
    assert set(owner.states.stopped) == {"a"}
    assert "another text stands there" in owner.states.stopped["a"]


ANSWERED = ("accepted", "none", "rejected", "append")


def commands_in_two_orders(log: Log) -> list[Record]:
    """Commands whose values are not their own canonical form, one for each kind of answer."""
    notes = {"tea": 1.0, "pot": 2.0}
    times = {"accepted": 1, "none": 0, "rejected": -1}
    return [
        log.command(name, Counted(notes=notes), "a", 2)
        if name == "append"
        else log.command(name, Count(times=times[name], notes=notes))
        for name in ANSWERED
    ]


def test_a_version_before_finds_the_hash_of_the_bytes_where_it_looks_for_it(log: Log) -> None:
    owner = log.owner()
    batch = commands_in_two_orders(log)
    log.take(owner, *batch)
    left = {
        (dict(record.headers)["ce_id"] or b"").decode().partition("/")[0]: dict(record.headers)
        for record in [*log.records[EVENTS], *log.records[OUTCOMES]]
    }
    for record in batch:
        name = (dict(record.headers)["ce_id"] or b"").decode()
        as_sent = body_hash(record.key, (dict(record.headers)["ce_type"] or b"").decode(), record.value or b"")
        assert (left[name]["es"] or b"")[39:47] == as_sent
        assert left[name]["es_content"] not in (None, as_sent)
    assert "es_content" not in left["begin-a"]


def test_a_repetition_of_a_command_that_a_version_before_handled_is_known(log: Log) -> None:
    owner = log.owner()
    batch = commands_in_two_orders(log)
    first = log.take(owner, *batch)
    for topic in (EVENTS, OUTCOMES):  # that version wrote no hash besides that of the bytes
        log.records[topic] = [
            record._replace(headers=tuple(header for header in record.headers if header[0] != "es_content"))
            for record in log.records[topic]
        ]
    assert log.take(log.owner(), *batch) == first


@pytest.mark.parametrize("hash_", [None, b"", b"short", bytes(9)])
def test_a_content_hash_of_another_length_is_ignored(log: Log, hash_: bytes | None) -> None:
    owner = log.owner()
    batch = commands_in_two_orders(log)
    first = log.take(owner, *batch)
    for topic in (EVENTS, OUTCOMES):
        log.records[topic] = [
            record._replace(
                headers=tuple((name, hash_ if name == "es_content" else value) for name, value in record.headers)
            )
            for record in log.records[topic]
        ]
    successor = log.owner()
    assert successor.states.stopped == {}
    assert log.take(successor, *batch) == first
