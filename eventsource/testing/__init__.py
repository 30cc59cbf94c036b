"""What users test their domain and their app with."""

from eventsource.testing.scenario import given

__all__ = ["given"]
