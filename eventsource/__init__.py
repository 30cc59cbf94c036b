"""Kafka-first event sourcing: fenced aggregates, replayable read models, sagas."""

from typing import TYPE_CHECKING, Any

from eventsource.app import App
from eventsource.domain import (
    Aggregate,
    Command,
    Context,
    Event,
    IdForm,
    Rejected,
    applies,
    creates,
    decides,
    invariant,
    stored_as,
)
from eventsource.errors import (
    AlreadyExists,
    Backlogged,
    CommandError,
    CommandIdReused,
    DecodeError,
    EventSourceError,
    Expired,
    HandlerFailed,
    NotCaughtUp,
    NotFound,
    OutcomeUnknown,
    Retriable,
    VersionConflict,
    VersionNotReached,
)
from eventsource.log.token import Token
from eventsource.settings import Settings

if TYPE_CHECKING:
    from eventsource.commands.client import Client
    from eventsource.commands.loaded import Loaded
    from eventsource.commands.pending import Pending
    from eventsource.commands.receipt import Receipt

__all__ = [
    "Aggregate",
    "AlreadyExists",
    "App",
    "Backlogged",
    "Client",
    "Command",
    "CommandError",
    "CommandIdReused",
    "Context",
    "DecodeError",
    "Event",
    "EventSourceError",
    "Expired",
    "HandlerFailed",
    "IdForm",
    "Loaded",
    "NotCaughtUp",
    "NotFound",
    "OutcomeUnknown",
    "Pending",
    "Receipt",
    "Rejected",
    "Retriable",
    "Settings",
    "Token",
    "VersionConflict",
    "VersionNotReached",
    "applies",
    "creates",
    "decides",
    "invariant",
    "stored_as",
]


def __getattr__(name: str) -> Any:
    # What pulls in Kafka's client waits until it is asked for: a domain's own tests never need it.
    if name == "Client":
        from eventsource.commands.client import Client

        return Client
    if name == "Loaded":
        from eventsource.commands.loaded import Loaded

        return Loaded
    if name == "Pending":
        from eventsource.commands.pending import Pending

        return Pending
    if name == "Receipt":
        from eventsource.commands.receipt import Receipt

        return Receipt
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
