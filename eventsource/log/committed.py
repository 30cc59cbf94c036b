"""A consumer group's committed offsets, asked of its coordinator without joining the group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from eventsource.log.admin import FORBIDDEN, TopicAndPartition, translate
from eventsource.log.client_config import consumer_config


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
    # A consumer that reads committed records asks for stable offsets (KIP-447). The admin client could ask too, but librdkafka
    # 2.16 ends the process when such a request times out while the coordinator is being looked up.
    config = consumer_config(client_config, group)
    if not stable:
        config["isolation.level"] = "read_uncommitted"
    consumer = Consumer(config)
    try:
        found = consumer.committed([TopicPartition(topic, number) for topic, number in partitions], timeout_seconds)
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


def _refusal(consumer: Consumer) -> KafkaError | None:
    # librdkafka tells whoever polls that the principal may not use the group, and lets the question itself time out.
    while (message := consumer.poll(0)) is not None:
        error = message.error()
        if error is not None and error.code() in FORBIDDEN:
            return error
    return None
