"""Consumers that give records: of confluent_kafka's, or compiled, which does the same in a third of the time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from eventsource.log.fetch_error import FetchError
from eventsource.log.kafka_clients import KafkaConsumer, settings_taken
from eventsource.log.record import Record, record_of
from eventsource.log.serving import served

try:
    from eventsource.log.native_consumer import NativeConsumer
except ImportError:  # it was not compiled
    NativeConsumer = None  # type: ignore[assignment,misc]

Place = tuple[str, int, int]
"""Topic, partition, offset."""

_ERROR_CALLBACK: Final = "error_cb"
_CLIENTS_OWN: Final = frozenset(
    {"sasl.oauthbearer.metadata.authentication.type", "plugin.library.paths", "default.topic.config"}
)
"""Settings that confluent_kafka does more about than to pass them on."""


class RecordConsumer(Protocol):
    """A consumer of the partitions that it is told. Belongs to one thread. Everything raises `KafkaException`."""

    def assign(self, places: list[Place]) -> None:
        """Reads these partitions from these offsets, and no others."""

    def incremental_assign(self, places: list[Place]) -> None:
        """Reads these too."""

    def incremental_unassign(self, places: list[Place]) -> None:
        """Reads these no more, whatever offsets are given."""

    def read(self, max_records: int, timeout_seconds: float) -> tuple[list[Record], list[FetchError]]:
        """What is there, at once; waits for the first of it up to the time-out."""

    def position(self, topic: str, partition: int) -> int:
        """The next offset to be read; negative before anything was."""

    def look_up(self, topic: str, timeout_seconds: float) -> KafkaError | None:
        """Asks a broker about a topic, and gives the error that it is answered with."""

    def close(self) -> None:
        """Lets go of everything."""


class ClientConsumer:
    """A `RecordConsumer` on confluent_kafka's `Consumer`."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._consumer = KafkaConsumer(dict(config))

    def assign(self, places: list[Place]) -> None:
        self._consumer.assign(_partitions(places))

    def incremental_assign(self, places: list[Place]) -> None:
        self._consumer.incremental_assign(_partitions(places))

    def incremental_unassign(self, places: list[Place]) -> None:
        self._consumer.incremental_unassign(_partitions(places))

    def read(self, max_records: int, timeout_seconds: float) -> tuple[list[Record], list[FetchError]]:
        messages: list[Message] = served(self._consumer.consume, 1, timeout_seconds)
        if messages and max_records > 1:
            messages += served(self._consumer.consume, max_records - 1, 0)
        errors = [
            FetchError(message.topic() or "", message.partition() or 0, error)
            for message in messages
            if (error := message.error()) is not None
        ]
        if errors:
            return [record_of(message) for message in messages if message.error() is None], errors
        return [record_of(message) for message in messages], errors

    def position(self, topic: str, partition: int) -> int:
        (found,) = self._consumer.position([TopicPartition(topic, partition)])
        return int(found.offset)

    def look_up(self, topic: str, timeout_seconds: float) -> KafkaError | None:
        try:
            found: KafkaError | None = self._consumer.list_topics(topic, timeout=timeout_seconds).topics[topic].error
        except KafkaException as error:
            return error.args[0]  # type: ignore[no-any-return]  # a KafkaError
        return found

    def close(self) -> None:
        self._consumer.close()


def record_consumer(config: Mapping[str, Any]) -> RecordConsumer:
    """The fastest consumer for these settings: the compiled one has no callbacks besides `error_cb`."""
    texts = _texts(config)
    report = config.get(_ERROR_CALLBACK)
    if NativeConsumer is None or texts is None or not callable(report):
        return ClientConsumer(config)
    with settings_taken():
        return NativeConsumer(texts, report)


def _texts(config: Mapping[str, Any]) -> dict[str, str] | None:
    """The settings as librdkafka takes them; None where there is one that only confluent_kafka knows what to do with."""
    if not _CLIENTS_OWN.isdisjoint(config):
        return None
    texts: dict[str, str] = {}
    for name, value in config.items():
        if name == _ERROR_CALLBACK:
            continue
        if isinstance(value, bool):
            texts[name] = str(value).lower()
        elif isinstance(value, str):
            texts[name] = value  # as it is: a secret shows in no repr
        elif isinstance(value, int | float):
            texts[name] = str(value)
        else:
            return None
    return texts


def _partitions(places: list[Place]) -> list[TopicPartition]:
    return [TopicPartition(*place) for place in places]
