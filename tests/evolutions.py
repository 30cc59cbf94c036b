"""Changes of an event class: ten that break the reading of what was written before, and ten that do not."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any

import pydantic
from pydantic import BaseModel, Field

from eventsource import Aggregate, Command, Event, applies, creates, stored_as


class Address(BaseModel):
    town: str


class Postal(BaseModel):
    town: str


@stored_as("Address")
class Renamed(BaseModel):
    town: str


class AddressAndStreet(BaseModel):
    town: str
    street: str


AddressAndStreet.__name__ = "Address"
Colour = Enum("Colour", ["RED", "BLUE"])
Color = Enum("Color", ["RED", "BLUE"])
OneColour = Enum("Colour", ["RED"])
MoreColours = Enum("Colour", ["GREEN", "RED", "BLUE"])
Cents = Annotated[Decimal, Field(max_digits=10, decimal_places=2)]
Mills = Annotated[Decimal, Field(max_digits=18, decimal_places=4)]

FIELDS: dict[str, Any] = {
    "count": (int, ...),
    "text": (str, ...),
    "note": (str | None, ...),
    "address": (Address, ...),
    "colour": (Colour, ...),
    "price": (Cents, ...),
    "on": (date, ...),
    "lines": (list[Address], ...),
    "pair": (tuple[int, int], ...),
}


@dataclass(frozen=True)
class Evolution:
    """`fields` are changed, None takes one away; `names` are the class arguments of today. `says` is in the error."""

    fields: dict[str, Any] = field(default_factory=dict)
    names: dict[str, Any] = field(default_factory=lambda: {"name": "noted"})
    says: str = ""


BREAKING = {
    "a field added without a default": Evolution({"added": (str, ...)}, says="added: it was written before"),
    "a field renamed without an alias": Evolution(
        {"count": None, "number": (int, ...)}, says="number: it was written before"
    ),
    "a type changed": Evolution({"text": (int, ...)}, says="text: it was written as string and is int today"),
    "a type narrowed": Evolution({"note": (str, ...)}, says="note: it was written as null and is str today"),
    "a nested field added without a default": Evolution(
        {"address": (AddressAndStreet, ...), "lines": None}, says="address.street: it was written before"
    ),
    "a nested model renamed": Evolution(
        {"address": (Postal, ...)}, says="address: it was written as Address and is Postal today"
    ),
    "a member of an enum removed": Evolution(
        {"colour": (OneColour, ...)}, says="colour: Colour has no member BLUE today"
    ),
    "a list become one": Evolution(
        {"lines": (Address, ...)}, says="lines: it was written as array and is Address today"
    ),
    "a date become a time": Evolution(
        {"on": (pydantic.AwareDatetime, ...)}, says="on: it was written as date and is datetime today"
    ),
    "a tuple lengthened": Evolution(
        {"pair": (tuple[int, int, int], ...)}, says="pair: it was written as noted_pair and is tuple today"
    ),
}
COMPATIBLE = {
    "nothing changed": Evolution(),
    "a field added with a default": Evolution({"added": (str, "")}),
    "a field removed": Evolution({"count": None}),
    "a field renamed with an alias": Evolution(
        {"count": None, "number": (int, Field(json_schema_extra={"aliases": ["count"]}))}
    ),
    "a type widened": Evolution({"count": (float, ...), "text": (str | int | None, ...)}),
    "more digits": Evolution({"price": (Mills, ...)}),
    "a nested model renamed under its old name": Evolution({"address": (Renamed, ...), "lines": (list[Renamed], ...)}),
    "an enum renamed": Evolution({"colour": (Color, ...)}),
    "a member of an enum added": Evolution({"colour": (MoreColours, ...)}),
    "the event renamed with an alias": Evolution(names={"name": "remarked", "aliases": ("noted",)}),
}


UNCHANGED = Evolution()
RENAMED = Evolution(names={"name": "remarked"})
"""Its class is not there any more, as far as the log is concerned."""


def notebook(change: Evolution = UNCHANGED) -> type[Aggregate[Any]]:
    """An aggregate with an event of these fields."""
    fields = {name: kind for name, kind in {**FIELDS, **change.fields}.items() if kind is not None}
    base: Any = pydantic.create_model("Noted", __base__=Event, __cls_kwargs__=change.names, **fields)
    return _aggregate(base)


def _aggregate(event: Any) -> type[Aggregate[Any]]:
    class Note(Command, name="note"):
        pass

    class Notebook(Aggregate, name="notebook"):
        @creates
        @classmethod
        def note(cls, command: Note) -> event:
            raise NotImplementedError

        @creates
        @classmethod
        def on_noted(cls, event: event) -> Notebook:
            return cls()

        @applies
        def on_noted_again(self, event: event) -> None:
            pass

    return Notebook
