"""Kafka-first event sourcing: fenced aggregates, replayable read models, sagas."""

from eventsource.app import App
from eventsource.domain import Aggregate, Command, Context, Event, Rejected, applies, creates, decides
from eventsource.errors import (
    AlreadyExists,
    Backlogged,
    CommandError,
    EventSourceError,
    Expired,
    HandlerFailed,
    NotCaughtUp,
    NotFound,
    OutcomeUnknown,
    Retriable,
    VersionConflict,
)
from eventsource.log.token import Token
from eventsource.settings import Settings

__all__ = [
    "Aggregate",
    "AlreadyExists",
    "App",
    "Backlogged",
    "Command",
    "CommandError",
    "Context",
    "Event",
    "EventSourceError",
    "Expired",
    "HandlerFailed",
    "NotCaughtUp",
    "NotFound",
    "OutcomeUnknown",
    "Rejected",
    "Retriable",
    "Settings",
    "Token",
    "VersionConflict",
    "applies",
    "creates",
    "decides",
]
