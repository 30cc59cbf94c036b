"""Client, `TestApp` and owner reject the same texts, in the same places, before an event is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventsource.commands.arguments import check_repetition, key_of, trail_of
from eventsource.commands.request import read_request, read_requests
from eventsource.commands.status import Status
from eventsource.errors import InvalidArgument
from eventsource.log.headers import MAX_COMMAND_ID_BYTES, MAX_TEXT_BYTES, CommandHeaders, Trail, command_headers
from eventsource.log.partitioner import MAX_KEY_BYTES, partition_for
from eventsource.log.record import Record
from eventsource.log.texts import fault_of
from eventsource.testing import TestApp
from tests.unit.test_commands_handling import APP, PARTITION, Account, Open, Partition

NUL, SURROGATE = "a\0b", "a\ud800b"
PLACES: dict[str, tuple[int, Callable[[str], dict[str, Any]]]] = {
    "the aggregate id": (MAX_KEY_BYTES, lambda text: {"aggregate_id": text}),
    "command_id": (MAX_COMMAND_ID_BYTES, lambda text: {"command_id": text}),
    "actor": (MAX_TEXT_BYTES, lambda text: {"actor": text}),
    "correlation_id": (MAX_TEXT_BYTES, lambda text: {"correlation_id": text}),
    "causation_id": (MAX_TEXT_BYTES, lambda text: {"causation_id": text}),
    "a name of metadata": (MAX_TEXT_BYTES, lambda text: {"metadata": {text: "x"}}),
    "metadata['x']": (MAX_TEXT_BYTES, lambda text: {"metadata": {"x": text}}),
}
CASES = [pytest.param(name, limit, made, id=name) for name, (limit, made) in PLACES.items()]


def send(app: TestApp, aggregate_id: str = "acc-1", **options: Any) -> None:
    app.send(Account, aggregate_id, Open(owner="Ada"), **options)


@pytest.mark.parametrize(("name", "limit", "made"), CASES)
def test_what_no_row_or_header_could_hold_is_rejected_by_its_name(
    name: str, limit: int, made: Callable[[str], dict[str, Any]]
) -> None:
    for text, reason in [
        (NUL, "holds a NUL character at index 1, which Postgres cannot store: remove it"),
        (SURROGATE, "holds a lone surrogate at index 1, which has no UTF-8 form"),
        ("é" * (limit // 2) + "ab", f"takes {limit // 2 * 2 + 2} bytes in UTF-8, {limit} are allowed"),
    ]:
        app = TestApp(APP)
        with pytest.raises(InvalidArgument) as refused:
            send(app, **made(text))
        assert name in str(refused.value)
        assert reason in str(refused.value)
        assert app.events() == []
        assert len(str(refused.value)) < 300


@pytest.mark.parametrize(("name", "limit", "made"), CASES)
def test_what_is_as_long_as_allowed_is_accepted(name: str, limit: int, made: Callable[[str], dict[str, Any]]) -> None:
    app = TestApp(APP)
    send(app, **made("é" * (limit // 2)))
    assert len(app.events()) == 1


def record_of(key: bytes, headers: CommandHeaders) -> Record:
    return Record("bank.account.commands", partition_for(key, 4), 0, 0, key, b"", command_headers(headers))


TEXTS = st.text(st.sampled_from("\0a\x01\x1f\x7f\ufffe\U0010ffff é"), min_size=1, max_size=4)


@given(
    TEXTS, TEXTS, st.builds(Trail, TEXTS, TEXTS, TEXTS, st.dictionaries(TEXTS, TEXTS, max_size=2)) | st.just(Trail())
)
@example("a", "b", Trail())
def test_the_owner_takes_what_the_client_takes_and_nothing_else(
    aggregate_id: str, command_id: str, trail: Trail
) -> None:
    try:
        key_of(Account, aggregate_id)
        check_repetition(command_id, None)
        trail_of(trail.correlation_id, trail.causation_id, trail.actor, trail.metadata)
        taken = True
    except InvalidArgument:
        taken = False
    record = record_of(aggregate_id.encode(), CommandHeaders(command_id, "open", "/x", 0, trail=trail))
    request = read_request(record, "/bank/account")
    assert (request.error is None) == taken
    assert (request.headers.command_id, request.aggregate_id) == (command_id, aggregate_id)
    assert read_requests([record], "/bank/account")[0].headers == request.headers


FOREIGN = [
    pytest.param(lambda c: c._replace(command_id=NUL), id="command id"),
    *(
        pytest.param(lambda c, trail=trail: c._replace(trail=trail), id=repr(trail))
        for trail in (
            Trail(NUL),
            Trail("", NUL),
            Trail(actor=NUL),
            Trail(metadata={NUL: ""}),
            Trail(metadata={"x": NUL}),
        )
    ),
]


@pytest.mark.parametrize("change", FOREIGN)
def test_a_command_by_another_producer_fails_alone_and_its_answer_is_known_to_the_next_owner(
    change: Callable[[CommandHeaders], CommandHeaders],
) -> None:
    partition = Partition()
    record = partition.command(Open(owner="Ada"))
    headers = change(CommandHeaders("c-1", "open", "/x", record.timestamp_ms, reply_partition=0, client_id=b"c" * 16))
    record = record._replace(headers=command_headers(headers))
    (first,) = partition.take(record)
    assert (first.status, first.code) == (Status.FAILED, "HeaderError")
    assert "holds a NUL character at index 1" in first.details
    assert partition.events() == []
    assert len(partition.log["bank.account.dead-letters"]) == 1
    successor = partition.successor()
    (again,) = successor.take(record)
    assert (again.status, again.details) == (first.status, first.details)
    (good,) = successor.take(successor.command(Open(owner="Eve")))
    assert good.status is Status.ACCEPTED


def test_an_aggregate_id_with_a_nul_by_another_producer_creates_nothing() -> None:
    key = next(key for key in (b"%d\0" % number for number in range(100)) if partition_for(key, 4) == PARTITION)
    partition = Partition()
    (reply,) = partition.take(partition.command(Open(owner="Ada"), key=key))
    assert (reply.status, reply.code) == (Status.FAILED, "HeaderError")
    assert partition.events() == []


def test_what_is_empty_is_no_fault() -> None:
    assert fault_of("", 0) is None


def test_what_an_older_version_accepted_is_still_replayed_and_answered() -> None:
    """Ids with a NUL were accepted once: such a log is read, and a command that was answered is answered the same again."""
    partition = Partition()
    key = next(key for key in (b"%d\0" % number for number in range(100)) if partition_for(key, 4) == PARTITION)
    partition.take(partition.command(Open(owner="Ada"), command_id="c-1"))
    (event,) = partition.log["bank.account.events"]
    headers = {**dict(event.headers), "ce_id": b"c\0/1.1"}
    partition.log["bank.account.events"] = [event._replace(key=key, headers=tuple(headers.items()))]
    successor = partition.successor()
    assert successor.handling.states.stopped == {}
    current = successor.handling.states.find(key.decode())
    assert current is not None
    assert current.version == 1
    again = partition.command(Open(owner="Ada"), command_id="c\0")
    (reply,) = successor.take(again._replace(key=key, offset=99))
    assert (reply.status, reply.version) == (Status.COMMAND_ID_REUSED, 1)  # the hash here is that of the other key
    (refused,) = successor.take(partition.command(Open(owner="Ada"), key=key))
    assert (refused.status, refused.code) == (Status.FAILED, "HeaderError")
