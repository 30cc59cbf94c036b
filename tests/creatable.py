"""A base for aggregates of tests in which nothing needs to be created."""

from __future__ import annotations

from typing import Self

from eventsource.domain import Aggregate, Event, creates


class Made(Event, name="made"):
    pass


class Creatable(Aggregate, abstract=True):
    """An aggregate that an event creates, since a class of which none does is refused."""

    @creates
    @classmethod
    def on_made(cls, event: Made) -> Self:
        return cls()
