"""A real Kafka and a real Postgres from Python packages: no Docker, no Java to install."""

from __future__ import annotations

from eventsource.embedded.jars import KAFKA_VERSION, JarCache
from eventsource.embedded.progress import Progress, ProgressCallback, no_progress
from eventsource.embedded.stack import EmbeddedStack

__all__ = ["KAFKA_VERSION", "EmbeddedStack", "JarCache", "Progress", "ProgressCallback", "no_progress"]
