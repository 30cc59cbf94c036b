"""Kafka-first event sourcing: fenced aggregates, replayable read models, sagas."""

from importlib import import_module
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
from eventsource.log.recorded import RecordedEvent
from eventsource.log.token import Token
from eventsource.settings import ClientSettings, KafkaSettings, PostgresSettings, Settings, WorkerSettings

if TYPE_CHECKING:
    from eventsource.commands.client import Client
    from eventsource.commands.loaded import Loaded
    from eventsource.commands.pending import Pending
    from eventsource.commands.receipt import Receipt
    from eventsource.log.topics import apply as apply_topics
    from eventsource.worker import Worker

__all__ = [
    "Aggregate",
    "AlreadyExists",
    "App",
    "Backlogged",
    "Client",
    "ClientSettings",
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
    "KafkaSettings",
    "Loaded",
    "NotCaughtUp",
    "NotFound",
    "OutcomeUnknown",
    "Pending",
    "PostgresSettings",
    "Receipt",
    "RecordedEvent",
    "Rejected",
    "Retriable",
    "Settings",
    "Token",
    "VersionConflict",
    "VersionNotReached",
    "Worker",
    "WorkerSettings",
    "applies",
    "apply_topics",
    "creates",
    "decides",
    "invariant",
    "stored_as",
]

# What pulls in Kafka's client waits until it is asked for: a domain's own tests never need it.
_LAZY = {
    "Client": ("eventsource.commands.client", "Client"),
    "Loaded": ("eventsource.commands.loaded", "Loaded"),
    "Pending": ("eventsource.commands.pending", "Pending"),
    "Receipt": ("eventsource.commands.receipt", "Receipt"),
    "Worker": ("eventsource.worker", "Worker"),
    "apply_topics": ("eventsource.log.topics", "apply"),
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _LAZY[name]
    return getattr(import_module(module), attribute)
