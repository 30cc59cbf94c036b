"""What users test their domain and their app with."""

from typing import TYPE_CHECKING, Any

from eventsource.testing.scenario import given
from eventsource.testing.virtual_clock import VirtualClock

if TYPE_CHECKING:
    from eventsource.testing.app import TestApp

__all__ = ["TestApp", "VirtualClock", "given"]


def __getattr__(name: str) -> Any:
    # The pytest plug-in lives in this package and is imported by every test run: what pulls in Kafka's client waits.
    if name == "TestApp":
        from eventsource.testing.app import TestApp

        return TestApp
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
