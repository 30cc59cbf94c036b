"""What an event is once it was written and read back, found without reading: never anything else than what reading gives."""

from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any

import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventsource.errors import EncodeError
from eventsource.schemas import MemorySchemaStore, MessageCodec, logged_form
from tests.exact_values import CASES, Money, changeable_parts, traced

quick = settings(max_examples=25, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])


@cache
def codec_of(annotation: Any) -> MessageCodec[Any]:
    model = pydantic.create_model(
        "Message", __config__=pydantic.ConfigDict(frozen=True), field=(annotation, ...), note=(str, "n")
    )
    return MessageCodec(model, "message", MemorySchemaStore())


@pytest.mark.parametrize(
    ("annotation", "values"), CASES, ids=lambda value: None if isinstance(value, st.SearchStrategy) else str(value)
)
def test_it_is_what_reading_gives(annotation: Any, values: st.SearchStrategy[Any]) -> None:
    codec = codec_of(annotation)
    form = logged_form(codec.schema)

    @quick
    @given(values, st.booleans())
    def check(value: Any, whole: bool) -> None:
        if form is None:
            return
        fields = {"field": value, "note": "n"} if whole else {"field": value}
        message = codec.model.model_construct(**fields)
        try:
            read = codec.decode(codec.encode(message))
        except EncodeError:
            return
        before = traced(message)
        found = form(message)
        assert traced(message) == before
        if found is not None:
            assert traced(found) == traced(read)
            parts = changeable_parts(message)
            assert not [part for part in changeable_parts(found) if any(part is other for other in parts)]

    check()


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (str, "a"),
        (Money, Decimal("5.00")),
        (Money | None, Decimal("5.00")),
        (datetime, datetime(2026, 1, 1, tzinfo=UTC)),
        (list[int], [1]),
        (dict[str, int], {"a": 1}),
        (tuple[int, Money], (1, Decimal("5.00"))),
    ],
    ids=str,
)
def test_what_is_certain_is_not_read(annotation: Any, value: Any) -> None:
    form = logged_form(codec_of(annotation).schema)
    assert form is not None
    message = codec_of(annotation).model(field=value, note="n")
    assert form(message) == message
    assert (form(message) is message) is not isinstance(value, list | dict)


def test_an_attribute_that_is_no_field_is_not_in_the_log() -> None:
    codec = codec_of(str)
    form = logged_form(codec.schema)
    message = codec.model(field="a", note="n")
    object.__setattr__(message, "more", 1)
    assert form is not None
    assert form(message) is None
