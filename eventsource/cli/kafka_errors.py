"""What reaches the command line straight from librdkafka: above all client settings that it does not take."""

from __future__ import annotations

from confluent_kafka import KafkaError, KafkaException

from eventsource.errors import EventSourceError, LogError
from eventsource.log.kafka_errors import WRONG_SETTING, settings_refused, translate


def explain(error: KafkaException) -> EventSourceError:
    """The error as one of ours, caused by it."""
    found = error.args[0] if error.args else None
    explained: EventSourceError
    if not isinstance(found, KafkaError):
        explained = LogError(f"Kafka's client failed: {error}: check EVENTSOURCE_KAFKA__CLIENT__…")
    elif found.code() in WRONG_SETTING:
        explained = settings_refused(found)
    else:
        explained = translate(found, "Kafka's client failed", "EVENTSOURCE_KAFKA__BOOTSTRAP_SERVERS")
    explained.__cause__ = error
    return explained
