"""An app of three aggregates and two projections, one of which can be made to fail on an event, for tests of whole workers."""

from __future__ import annotations

import threading
from typing import Self

from sqlalchemy.orm import Mapped, mapped_column

from eventsource.app import App
from eventsource.domain import Aggregate, Command, Event, applies, creates, decides
from projections import Projection, ReadModel, projects

BROKEN = threading.Event()
"""While it is set, the projection `fragile` fails on events with the bad amount."""
BAD_AMOUNT = 13


class Add(Command, name="add"):
    amount: int


class Added(Event, name="added"):
    amount: int


class Total(Aggregate, name="total"):
    amount: int

    @creates
    @classmethod
    def begin(cls, command: Add) -> Added:
        return Added(amount=command.amount)

    @creates
    @classmethod
    def on_begun(cls, event: Added) -> Self:
        return cls(amount=event.amount)

    @decides
    def add(self, command: Add) -> Added:
        return Added(amount=command.amount)

    @applies
    def on_added(self, event: Added) -> None:
        self.amount += event.amount


class Start(Command, name="start"):
    pass


class Started(Event, name="started"):
    pass


class Job(Aggregate, name="job"):
    @creates
    @classmethod
    def start(cls, command: Start) -> Started:
        return Started()

    @creates
    @classmethod
    def on_started(cls, event: Started) -> Self:
        return cls()


class Task(Aggregate, name="task"):
    @creates
    @classmethod
    def start(cls, command: Start) -> Started:
        return Started()

    @creates
    @classmethod
    def on_started(cls, event: Started) -> Self:
        return cls()


class Sum(ReadModel):
    __tablename__ = "sums"
    total_id: Mapped[str] = mapped_column(primary_key=True)
    amount: Mapped[int] = mapped_column(default=0)


class Sums(Projection[Sum], name="sums"):
    @projects
    def on_added(self, event: Added, row: Sum) -> None:
        row.amount += event.amount


class FragileSum(ReadModel):
    __tablename__ = "fragile_sums"
    total_id: Mapped[str] = mapped_column(primary_key=True)
    amount: Mapped[int] = mapped_column(default=0)


class Fragile(Projection[FragileSum], name="fragile"):
    @projects
    def on_added(self, event: Added, row: FragileSum) -> None:
        if event.amount == BAD_AMOUNT and BROKEN.is_set():
            raise ZeroDivisionError("the handler has a defect")
        row.amount += event.amount


parts = App("parts", aggregates=[Total, Job, Task], consumers=[Sums, Fragile], partitions=8)
