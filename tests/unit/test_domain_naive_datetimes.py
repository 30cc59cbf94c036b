"""Fields that take times without a zone are reported where the message is defined, and nowhere else."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Self, TypeVar

import pytest
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    FutureDatetime,
    NaiveDatetime,
    PastDatetime,
    ValidationError,
)

from eventsource.domain import Aggregate, Command, Event, creates
from eventsource.errors import DefinitionError, NaiveDatetimeWarning
from eventsource.schemas import MemorySchemaStore, MessageCodec
from eventsource.testing import given

T = TypeVar("T")


class Visit(BaseModel):
    at: datetime


class SafeVisit(BaseModel):
    at: AwareDatetime


def reports(annotation: Any, **arguments: Any) -> list[str]:
    """The fields that are reported, in order."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")

        class Seen(Event, name="seen", **arguments):
            when: annotation

    assert all(each.category is NaiveDatetimeWarning and each.filename == __file__ for each in found)
    return [str(each.message).partition(" takes ")[0].rpartition("<locals>.")[2] for each in found]


@pytest.mark.parametrize(
    ("annotation", "fields"),
    [
        (datetime, ["Seen.when"]),
        (datetime | None, ["Seen.when"]),
        (list[datetime], ["Seen.when"]),
        (dict[str, tuple[datetime, ...]], ["Seen.when"]),
        (Annotated[datetime, AfterValidator(lambda value: value)], ["Seen.when"]),
        (PastDatetime, ["Seen.when"]),
        (FutureDatetime, ["Seen.when"]),
        (Visit, ["Visit.at"]),
        (list[Visit] | None, ["Visit.at"]),
        (AwareDatetime, []),
        (NaiveDatetime, []),
        (Annotated[AwareDatetime, AfterValidator(lambda value: value)], []),
        (SafeVisit, []),
        (str, []),
    ],
)
def test_a_field_that_takes_times_without_a_zone_is_reported(annotation: Any, fields: list[str]) -> None:
    assert reports(annotation) == fields
    assert reports(annotation, naive_datetimes=True) == []
    assert reports(annotation, naive_datetimes=False) == fields


def test_the_report_says_what_to_write() -> None:
    with pytest.warns(
        NaiveDatetimeWarning,
        match=r"Late\.until .*AwareDatetime .*NaiveDatetime .*class Late\(…, naive_datetimes=True\)",
    ):

        class Late(Command, name="late"):
            until: datetime


def test_commands_and_generic_messages_are_reported_too() -> None:
    class Changed(Event, Generic[T], abstract=True):
        to: T

    with pytest.warns(NaiveDatetimeWarning, match=r"Changed\[datetime\]\.to"):

        class Moved(Changed[datetime], name="moved"):
            pass


def test_a_field_is_reported_where_it_is_written_and_not_for_every_subclass() -> None:
    with pytest.warns(NaiveDatetimeWarning) as found:

        class Base(Event, abstract=True):
            at: datetime
            visits: list[Visit]

    assert len(found) == 2

    class Sub(Base, name="sub"):
        more: AwareDatetime


def test_a_base_hands_its_setting_down_and_a_subclass_may_take_it_back() -> None:
    class Base(Event, abstract=True, naive_datetimes=True):
        at: datetime

    class Sub(Base, name="sub"):
        then: datetime

    with pytest.warns(NaiveDatetimeWarning, match=r"Strict\.then"):

        class Strict(Base, name="strict", naive_datetimes=False):
            then: datetime


class Booked(Event, name="booked"):
    stay: Stay


class Stay(BaseModel):
    begins: datetime


def test_a_field_whose_type_comes_later_is_reported_once_when_an_aggregate_uses_it() -> None:
    with pytest.warns(NaiveDatetimeWarning, match=r"Stay\.begins") as found:

        class Room(Aggregate, name="room"):
            @creates
            @classmethod
            def on_booked(cls, event: Booked) -> Self:
                return cls()

    assert len(found) == 1

    class Suite(Aggregate, name="suite"):  # no second report
        @creates
        @classmethod
        def on_booked(cls, event: Booked) -> Self:
            return cls()


@pytest.mark.parametrize("value", ["yes", 1, 0])
def test_the_setting_is_true_or_false(value: Any) -> None:
    with pytest.raises(DefinitionError, match=f"event Odd has naive_datetimes={value!r}: give True or False"):

        class Odd(Event, name="odd", naive_datetimes=value):
            pass


def test_states_are_not_messages() -> None:
    class Begun(Event, name="begun"):
        pass

    class Clock(Aggregate, name="clock"):
        at: datetime | None = None

        @creates
        @classmethod
        def on_begun(cls, event: Begun) -> Self:
            return cls(at=datetime(2026, 1, 1))

    given(Clock, Begun()).then_state(at=datetime(2026, 1, 1))


def test_an_old_log_is_read_after_the_annotation_was_changed() -> None:
    """The schema stays the same, and validation is for messages that are made, never for those that are read."""

    class Old(Event, name="noted", naive_datetimes=True):
        at: datetime

    class New(Event, name="noted"):
        at: AwareDatetime

    schemas = MemorySchemaStore()
    old, new = MessageCodec(Old, "noted", schemas), MessageCodec(New, "noted", schemas)
    for at in (datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC)):
        assert new.decode(old.encode(Old(at=at))).at == at
    assert old.encode(Old(at=datetime(2026, 1, 1, tzinfo=UTC))) == new.encode(New(at=datetime(2026, 1, 1, tzinfo=UTC)))
    with pytest.raises(ValidationError, match="should have timezone info"):
        New(at=datetime(2026, 1, 1))
