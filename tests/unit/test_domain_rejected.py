"""Rejections: typed in the domain, JSON on the way, the same class again at the client."""

from __future__ import annotations

import copy
import gc
import json
import pickle
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, ClassVar
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError

from eventsource.domain import Rejected
from eventsource.domain.rejected import find_rejected, restore_rejected
from eventsource.errors import DefinitionError, EventSourceError


class Reason(Enum):
    LIMIT = "limit"
    FROZEN = "frozen"


class Limit(BaseModel):
    amount: Decimal


class TransferRefused(Rejected, abstract=True):
    account: str


class LimitReached(TransferRefused, code="limit_reached"):
    available: Decimal
    since: datetime | None = None
    reason: Reason = Reason.LIMIT
    by: UUID | None = None
    limit: Limit | None = None
    seal: bytes = b""


class Closed(Rejected, code="closed"):
    pass


def test_fields_are_keyword_parameters_and_attributes() -> None:
    rejected = LimitReached(account="a", available=Decimal("10.50"))
    assert (rejected.code, rejected.account, rejected.available, rejected.reason) == (
        "limit_reached",
        "a",
        Decimal("10.50"),
        Reason.LIMIT,
    )
    assert isinstance(rejected, TransferRefused)
    assert isinstance(rejected, EventSourceError)


def test_one_without_fields_can_be_raised_as_a_bare_class() -> None:
    with pytest.raises(Closed) as caught:
        raise Closed
    assert (caught.value.details(), str(caught.value)) == ({}, "closed")


@pytest.mark.parametrize(
    "fields", [{}, {"account": "a"}, {"account": "a", "available": "much"}, {"account": "a", "available": 1, "x": 2}]
)
def test_missing_wrong_and_unknown_fields_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LimitReached(**fields)


def test_fields_are_not_positional() -> None:
    with pytest.raises(TypeError):
        LimitReached("a")


def test_it_reads_as_its_code_and_details() -> None:
    class InsufficientFunds(Rejected, code="insufficient_funds"):
        available: Decimal

    assert str(InsufficientFunds(available=Decimal("100.00"))) == "insufficient_funds: available=100.00"


def test_a_decimal_travels_as_text_with_all_its_digits() -> None:
    details = LimitReached(account="a", available=Decimal("10.5000")).details()
    assert details["available"] == "10.5000"


@settings(max_examples=50, deadline=None)
@given(
    account=st.text(),
    available=st.decimals(allow_nan=False, allow_infinity=False),
    since=st.none() | st.datetimes(timezones=st.just(UTC)),
    reason=st.sampled_from(Reason),
    by=st.none() | st.uuids(),
    seal=st.binary(),
)
def test_what_is_restored_from_json_is_what_was_raised(**fields: Any) -> None:
    rejected = LimitReached(**fields, limit=Limit(amount=fields["available"]))
    restored = restore_rejected("limit_reached", json.loads(json.dumps(rejected.details())), prefer_module=__name__)
    assert type(restored) is LimitReached
    assert {name: getattr(restored, name) for name in fields} == fields
    assert isinstance(restored.limit, Limit)
    assert str(restored.available) == str(rejected.available)


def test_infinite_floats_travel_too() -> None:
    class TooHot(Rejected, code="too_hot"):
        degrees: float

    restored = TooHot.from_details(
        "too_hot", json.loads(json.dumps(TooHot(degrees=float("inf")).details(), allow_nan=False))
    )
    assert restored.degrees == float("inf")


def test_an_unknown_code_arrives_as_a_plain_rejection_with_raw_details() -> None:
    rejected = restore_rejected("never_defined", {"available": "1.00"})
    assert type(rejected) is Rejected
    assert (rejected.code, rejected.details(), str(rejected)) == (
        "never_defined",
        {"available": "1.00"},
        "never_defined: available=1.00",
    )


def test_details_of_a_newer_class_are_kept_and_do_not_fail() -> None:
    restored = Closed.from_details("closed", {"since": "2020"})
    assert type(restored) is Closed
    assert restored.details() == {"since": "2020"}
    assert not hasattr(restored, "since")


def test_details_of_an_older_class_still_make_the_class_that_callers_catch() -> None:
    restored = LimitReached.from_details("limit_reached", {"account": "a"})
    assert type(restored) is LimitReached
    assert (restored.account, restored.reason) == ("a", Reason.LIMIT)
    assert restored.details().keys() == LimitReached._fields.names - {"available"}
    assert str(restored).startswith("limit_reached: account=a, since=None")


def test_it_survives_a_copy_and_a_pickle_with_its_fields() -> None:
    rejected = LimitReached(account="a", available=Decimal("1.0"))
    for twin in (copy.copy(rejected), copy.deepcopy(rejected), pickle.loads(pickle.dumps(rejected))):
        assert (type(twin), twin.account, twin.available) == (LimitReached, "a", Decimal("1.0"))


def test_a_function_local_class_with_local_types_works() -> None:
    class Hold(BaseModel):
        until: datetime

    class OnHold(Rejected, code="on_hold"):
        hold: Hold

    until = datetime(2030, 1, 1, tzinfo=UTC)
    assert OnHold.from_details("on_hold", OnHold(hold=Hold(until=until)).details()).hold == Hold(until=until)


def test_a_type_that_is_defined_later_works_at_first_use() -> None:
    rejected = LateType(item=LateItem(article="a"))
    assert rejected.details() == {"item": {"article": "a"}}


class LateType(Rejected, code="late_type"):
    item: LateItem


class LateItem(BaseModel):
    article: str


def test_constraints_and_class_variables_are_understood() -> None:
    class TooMany(Rejected, code="too_many"):
        status: ClassVar[int] = 422
        count: int = Field(ge=1)
        tags: list[str] = Field(default_factory=list)

    assert (TooMany(count=1).tags, TooMany.status) == ([], 422)
    assert TooMany(count=1).details() == {"count": 1, "tags": []}
    with pytest.raises(ValidationError):
        TooMany(count=0)


# --- finding the class of a code ----------------------------------------------------------------------------------


def test_the_newest_definition_of_a_code_wins() -> None:
    def define() -> type[Rejected]:
        class Refused(Rejected, code="defined_again"):
            pass

        return Refused

    first, second = define(), define()
    assert first is not second
    assert find_rejected("defined_again") is second


def test_one_from_the_preferred_module_wins_over_a_newer_one() -> None:
    class Refused(Rejected, code="in_two_modules"):
        pass

    class Other(Rejected, code="in_two_modules_placeholder"):
        pass

    elsewhere: dict[str, Any] = {"Rejected": Rejected, "__name__": "elsewhere"}
    exec("class Refused(Rejected, code='in_two_modules'): pass", elsewhere)
    assert find_rejected("in_two_modules") is elsewhere["Refused"]
    assert find_rejected("in_two_modules", prefer_module=__name__) is Refused


def test_a_class_that_nobody_holds_any_more_is_not_found() -> None:
    class Refused(Rejected, code="gone_again"):
        available: Decimal

    assert find_rejected("gone_again") is Refused
    del Refused
    gc.collect()
    assert find_rejected("gone_again") is None


# --- mistakes -----------------------------------------------------------------------------------------------------


def test_a_code_used_twice_in_one_scope_is_refused() -> None:
    class NoFunds(Rejected, code="no_funds"):
        pass

    with pytest.raises(
        DefinitionError, match=r"NoFunds and .*Broke share the code 'no_funds': give one of them another code"
    ):

        class Broke(Rejected, code="no_funds"):
            pass

    assert find_rejected("no_funds") is NoFunds


def test_a_class_without_a_code_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r'Nameless has no code: write class Nameless\(…, code="…"\)'):

        class Nameless(Rejected):
            pass


def test_a_code_is_not_inherited() -> None:
    with pytest.raises(DefinitionError, match="Sub has no code"):

        class Sub(Closed):
            pass


@pytest.mark.parametrize("code", ["No Funds", "", "9lives", "a__b"])
def test_a_code_that_is_no_code_is_refused(code: str) -> None:
    with pytest.raises(DefinitionError, match=r"Bad has code=.*use lower-case words"):

        class Bad(Rejected, code=code):
            pass


def test_an_abstract_base_has_no_code_and_is_not_raised() -> None:
    with pytest.raises(DefinitionError, match="leave out its code"):

        class Base(Rejected, code="base", abstract=True):
            pass

    for cls in (Rejected, TransferRefused):
        with pytest.raises(DefinitionError, match=rf"{cls.__name__} has no code and cannot be raised"):
            cls()


@pytest.mark.parametrize("name", ["code", "details", "args", "with_traceback", "_hidden", "from_details"])
def test_a_field_with_a_name_that_is_taken_is_refused(name: str) -> None:
    with pytest.raises(DefinitionError, match=rf"Bad has a field '{name}', a name that is taken: rename it"):
        exec(f"class Bad(Rejected, code='bad'):\n    {name}: str", {"Rejected": Rejected, "__name__": __name__})


def test_a_field_that_json_cannot_hold_is_refused_at_definition() -> None:
    class Foreign:
        pass

    with pytest.raises(DefinitionError, match="Bad has a field that JSON cannot hold"):

        class Bad(Rejected, code="bad"):
            foreign: Foreign
