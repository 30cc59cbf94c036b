"""The records of a projection's topics: whatever stands there, an error says where it stands."""

from __future__ import annotations

from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Mapped, mapped_column

from eventsource.app import App
from eventsource.domain import Aggregate, Event, applies, creates
from eventsource.errors import EventSourceError
from eventsource.log.headers import EventHeaders, Origin, event_headers
from eventsource.log.record import Record
from eventsource.schemas import MemorySchemaStore, MessageCodec
from projections import Projection, ReadModel, projects
from projections.decoding import BatchDecoder
from projections.plan import Plan

TOPIC = "bank.account.events"


class Opened(Event, name="opened"):
    pass


class Renamed(Event, name="renamed"):
    pass


class Account(Aggregate, name="account"):
    @creates
    @classmethod
    def on_opened(cls, event: Opened) -> Self:
        return cls()

    @applies
    def on_renamed(self, event: Renamed) -> None: ...


class Count(ReadModel):
    __tablename__ = "counts"
    id: Mapped[str] = mapped_column(primary_key=True)


class Counts(Projection[Count], name="counts"):
    @projects
    def on_opened(self, event: Opened, row: Count) -> None: ...


APP = App("bank", aggregates=[Account], consumers=[Counts], partitions=4)
SCHEMAS = MemorySchemaStore()


def record(event: Event, **changes: bytes | None) -> Record:
    headers = EventHeaders("c", 1, 1, event.message_name, 1, "/s", 1, Origin(bytes(16), 0, 0), 0, bytes(8))
    named = {**dict(event_headers(headers)), **{name: value for name, value in changes.items() if name != "key"}}
    value = MessageCodec(type(event), event.message_name, SCHEMAS).encode(event)
    return Record(TOPIC, 3, 41, 0, changes.get("key") or b"a", value, tuple(named.items()))


@pytest.fixture
def decoder() -> BatchDecoder:
    return begun()


def begun() -> BatchDecoder:
    made = BatchDecoder(Plan(Counts.__definition__, APP), SCHEMAS)
    made.begin((TOPIC, 3), 0)
    return made


def test_what_does_not_concern_a_projection_is_checked_and_skipped(decoder: BatchDecoder) -> None:
    assert [found.event for found in decoder.decode([record(Opened(), key=b"b"), record(Renamed())])] == [Opened()]


JUNK: list[tuple[dict[str, bytes | None], str]] = [
    ({"key": b"\xff"}, "the key b'\\xff' is not UTF-8: only the framework may write to an events topic"),
    ({"key": b"\xff" * 5_000}, "is not UTF-8"),
    ({"ce_sequence": b"one"}, "ce_sequence"),
    ({"ce_sequence": b""}, "ce_sequence"),
    ({"ce_sequence": b"\xff"}, "ce_sequence"),
    ({"ce_sequence": b"9" * 5_000}, "ce_sequence"),
    ({"ce_sequence": None}, "ce_sequence"),
]


@pytest.mark.parametrize(("changes", "reason"), JUNK)
@pytest.mark.parametrize("event", [Opened(), Renamed()], ids=["concerns", "is skipped"])
def test_a_foreign_record_is_an_error_that_says_where_it_stands(
    decoder: BatchDecoder, event: Event, changes: dict[str, bytes | None], reason: str
) -> None:
    with pytest.raises(EventSourceError) as raised:
        decoder.decode([record(event, **changes)])
    assert str(raised.value).startswith("bank.account.events[3]@41: ")
    assert reason in str(raised.value)
    assert len(str(raised.value)) < 300


@given(
    st.sampled_from(["key", "ce_type", "ce_sequence", "ce_id", "ce_source", "es"]),
    st.none() | st.binary(max_size=60),
    st.sampled_from([Opened(), Renamed()]),
)
def test_no_record_raises_what_does_not_say_where_it_stands(name: str, value: bytes | None, event: Event) -> None:
    try:
        begun().decode([record(event, **{name: value})])
    except EventSourceError as error:
        assert "[3]@41" in str(error) or "partition 3, offset 41" in str(error)  # noqa: PT017 - most are no error
