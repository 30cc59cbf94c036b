"""A consumer group's committed offsets, asked of its coordinator without joining the group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from eventsource.errors import BrokerUnavailable, LogError
from eventsource.log.admin import TopicAndPartition
from eventsource.log.client_config import consumer_config
from eventsource.log.kafka_clients import KafkaConsumer
from eventsource.log.kafka_errors import FORBIDDEN, translate

_SECOND_LOOK_SECONDS: Final = 2.0


def committed_offsets(
    client_config: Mapping[str, Any],
    group: str,
    partitions: Iterable[TopicAndPartition],
    *,
    timeout_seconds: float,
    stable: bool = True,
) -> dict[TopicAndPartition, int | None]:
    """The group's committed offsets, stable: not while a transaction that moves them is open. None where there is none.

    With `stable=False` they are those from before the transactions that are open now; nobody may begin to handle there.

    Raises `BrokerUnavailable` (retriable) when there is no answer in time, or a transaction stays open for longer, and `LogError`
    when the principal may not ask.
    """
    places = list(partitions)
    try:
        return _asked(client_config, group, places, timeout_seconds, stable=stable)
    except BrokerUnavailable as error:
        if stable and _is_answered_unstable(client_config, group, places, timeout_seconds):
            raise BrokerUnavailable(
                f"a transaction that moves the offsets of group {group} has not ended for {timeout_seconds:g} s, and nobody may begin "
                "before it has: it ends with the producer that began it or at its time-out; if it stays, a broker lost its end: "
                "`eventsource doctor` names it and says what ends it"
            ) from error
        raise


def _is_answered_unstable(
    client_config: Mapping[str, Any], group: str, places: list[TopicAndPartition], timeout_seconds: float
) -> bool:
    try:
        _asked(client_config, group, places, min(timeout_seconds, _SECOND_LOOK_SECONDS), stable=False)
    except LogError:
        return False
    return True


def _asked(
    client_config: Mapping[str, Any],
    group: str,
    places: list[TopicAndPartition],
    timeout_seconds: float,
    *,
    stable: bool,
) -> dict[TopicAndPartition, int | None]:
    # A consumer that reads committed records asks for stable offsets (KIP-447). The admin client could ask too, but librdkafka
    # 2.16 ends the process when such a request times out while the coordinator is being looked up.
    config = consumer_config(client_config, group)
    if not stable:
        config["isolation.level"] = "read_uncommitted"
    consumer = KafkaConsumer(config)
    try:
        found = consumer.committed([TopicPartition(topic, number) for topic, number in places], timeout_seconds)
    except KafkaException as error:
        raise translate(
            _refusal(consumer) or error.args[0],
            f"asking for the committed offsets of group {group}",
            str(client_config.get("bootstrap.servers", "")),
        ) from error
    finally:
        consumer.close()
    committed: dict[TopicAndPartition, int | None] = {}
    for partition in found:
        if partition.error is not None:
            raise translate(
                partition.error,
                f"asking for the committed offset of {partition.topic}[{partition.partition}]",
                str(client_config.get("bootstrap.servers", "")),
            )
        committed[partition.topic, partition.partition] = partition.offset if partition.offset >= 0 else None
    return committed


def _refusal(consumer: KafkaConsumer) -> KafkaError | None:
    # librdkafka tells whoever polls that the principal may not use the group, and lets the question itself time out.
    while (message := consumer.poll(0)) is not None:
        error = message.error()
        if error is not None and error.code() in FORBIDDEN:
            return error
    return None
