"""What users test their domain and their app with."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from eventsource.testing.scenario import given
from eventsource.testing.virtual_clock import VirtualClock

if TYPE_CHECKING:
    from eventsource.schemas import MemorySchemaStore, MessageCodec
    from eventsource.testing.app import TestApp
    from eventsource.testing.running import ClientFactory
    from eventsource.testing.stack import SessionStack

__all__ = ["ClientFactory", "MemorySchemaStore", "MessageCodec", "SessionStack", "TestApp", "VirtualClock", "given"]

# The pytest plugin lives in this package and is imported by every test run: what pulls in Kafka's client waits.
_LAZY = {
    "ClientFactory": "eventsource.testing.running",
    "MemorySchemaStore": "eventsource.schemas",
    "MessageCodec": "eventsource.schemas",
    "SessionStack": "eventsource.testing.stack",
    "TestApp": "eventsource.testing.app",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
