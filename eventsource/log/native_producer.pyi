from confluent_kafka import Producer

from eventsource.log.record import Outgoing

def produce(producer: Producer, records: list[Outgoing]) -> None: ...
