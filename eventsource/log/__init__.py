"""The log: Kafka's topics, records, headers and readers."""

from eventsource.log.headers import Trail
from eventsource.log.record import Outgoing, Record
from eventsource.log.recorded import Recorded
from eventsource.log.token import Token

__all__ = ["Outgoing", "Record", "Recorded", "Token", "Trail"]
