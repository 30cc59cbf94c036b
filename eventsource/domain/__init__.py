"""What a team writes its domain with: typed, pure and synchronous."""

from eventsource.domain.aggregate import Aggregate
from eventsource.domain.context import Context
from eventsource.domain.handlers import applies, creates, decides
from eventsource.domain.ids import IdForm
from eventsource.domain.invariants import invariant
from eventsource.domain.message import Command, Event
from eventsource.domain.nested_names import stored_as
from eventsource.domain.rejected import Rejected

__all__ = [
    "Aggregate",
    "Command",
    "Context",
    "Event",
    "IdForm",
    "Rejected",
    "applies",
    "creates",
    "decides",
    "invariant",
    "stored_as",
]
