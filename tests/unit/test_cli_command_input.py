"""A command is read from the JSON in which the command line prints messages."""

from __future__ import annotations

import importlib.util
import sys
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field

from eventsource import Command
from eventsource.cli.command_input import command_from_json
from eventsource.cli.values import json_text
from eventsource.errors import InvalidArgument


def _round_trips() -> Any:
    """The types that are admitted, each with its values."""
    spec = importlib.util.spec_from_file_location(
        "round_trips", Path(__file__).with_name("test_schemas_round_trips.py")
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


ROUND_TRIPS = _round_trips()
# Members of these unions have one JSON form: which of them was meant is not to be seen.
AMBIGUOUS = {"bytes", "Colour", "Literal"}


def is_ambiguous(annotation: Any) -> bool:
    text = str(annotation)
    return ("|" in text or "Literal" in text) and any(word in text for word in AMBIGUOUS)


CASES = [case for case in ROUND_TRIPS.CASES if not is_ambiguous(case[0])]


def command_of(annotation: Any) -> type[Command]:
    class Put(Command, name="put", naive_datetimes=True):
        field: annotation

    return Put


@pytest.mark.parametrize(("annotation", "values"), CASES, ids=[str(annotation) for annotation, _ in CASES])
def test_what_is_printed_of_a_command_makes_the_same_command(annotation: Any, values: st.SearchStrategy[Any]) -> None:
    command = command_of(annotation)

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(values)
    def check(value: Any) -> None:
        printed = json_text(command.model_construct(field=value))
        found: Any = command_from_json(command, printed)
        assert json_text(found) == printed
        if not any(isinstance(value, kind) for kind in (float, dict, set, frozenset)):
            assert type(found.field) is type(value)

    check()


@pytest.mark.parametrize("text", ["0.1", '"0.1"', "12345678901234567.89", '"12345678901234567.89"'])
def test_an_amount_is_exact_as_a_number_and_as_a_string(text: str) -> None:
    command = command_of(Annotated[Decimal, Field(max_digits=22, decimal_places=2)])
    found: Any = command_from_json(command, f'{{"field": {text}}}')
    assert found.field == Decimal(text.strip('"'))


class Deposit(Command, name="deposit"):
    amount: int
    note: str = ""
    key: bytes = b""
    tags: dict[tuple[int, int], str] = Field(default_factory=dict)
    owner: str = Field("", alias="holder")


def test_fields_are_found_by_name_and_by_alias() -> None:
    for name in ("owner", "holder"):
        found: Any = command_from_json(Deposit, f'{{"amount": 1, "{name}": "me"}}')
        assert found.owner == "me"


def test_both_alphabets_of_base64_are_read() -> None:
    for text in ("-_8=", "+/8="):
        found: Any = command_from_json(Deposit, f'{{"amount": 1, "key": "{text}"}}')
        assert found.key == b"\xfb\xff"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "are no JSON"),
        ("{", "are no JSON"),
        ("[1]", "are no JSON object"),
        ('{"amount": NaN}', 'write "NaN" in quotes'),
        ('{"amount": 1, "amount": 2}', "stands twice"),
        ("[" * 100_000, "are no JSON"),
        ("{}", "amount: Field required"),
        ('{"amount": "secret-7"}', "amount: Input should be a valid integer"),
        ('{"amount": 1, "more": 2}', "more: Extra inputs"),
        ('{"amount": 1, "key": "secret-7 is no base64"}', "bytes is no base64"),
        ('{"amount": 1, "tags": [{"key": {}, "value": "x"}]}', "key that cannot be one"),
    ],
)
def test_what_is_no_command_is_one_sentence_without_the_values(text: str, says: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        command_from_json(Deposit, text)
    assert says in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_of_several_models_the_one_that_takes_most_is_made() -> None:
    class Cat(pydantic.BaseModel):
        name: str

    class Dog(pydantic.BaseModel):
        name: str
        collar: bytes

    found: Any = command_from_json(command_of(Cat | Dog), '{"field": {"name": "Rex", "collar": "_w=="}}')
    assert found.field == Dog(name="Rex", collar=b"\xff")
