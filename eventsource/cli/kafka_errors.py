"""What reaches the command line straight from librdkafka: above all client settings that it does not take."""

from __future__ import annotations

from confluent_kafka import KafkaError, KafkaException

from eventsource.errors import BrokerUnavailable, EventSourceError, LogError, SettingsError
from eventsource.log.admin import UNREACHABLE

_WRONG_SETTING = frozenset(
    {
        KafkaError._INVALID_ARG,
        KafkaError._CONFLICT,
        KafkaError._NOT_IMPLEMENTED,
        KafkaError._UNKNOWN_PROTOCOL,
        KafkaError._FS,
    }
)


def explain(error: KafkaException) -> EventSourceError:
    """The error as one of ours, caused by it."""
    found = error.args[0] if error.args else None
    explained: EventSourceError
    if not isinstance(found, KafkaError):
        explained = LogError(f"Kafka's client failed: {error}: check EVENTSOURCE_KAFKA__CLIENT__…")
    elif found.code() in _WRONG_SETTING:
        explained = SettingsError(
            f"Kafka's client refuses its settings: {found.str()}: correct EVENTSOURCE_KAFKA__CLIENT__…"
        )
    elif found.code() in UNREACHABLE:
        explained = BrokerUnavailable(
            f"no broker answers ({found.name()}): check EVENTSOURCE_KAFKA__BOOTSTRAP_SERVERS and that Kafka runs"
        )
    else:
        explained = LogError(f"Kafka's client failed with {found.name()}: {found.str()}")
    explained.__cause__ = error
    return explained
