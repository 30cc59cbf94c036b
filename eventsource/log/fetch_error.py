"""What came in place of records."""

from __future__ import annotations

from typing import NamedTuple

from confluent_kafka import KafkaError


class FetchError(NamedTuple):
    """An error that a consumer met in one of its partitions."""

    topic: str
    partition: int
    error: KafkaError
