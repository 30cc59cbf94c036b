from eventsource.log.record import Outgoing, Record

class EventRecords:
    def __init__(self, topic: str, partition: int, source: tuple[str, bytes], topic_id: bytes) -> None: ...
    def event(
        self,
        command: Record,
        command_id: str,
        body_hash: bytes,
        trail: bytes,
        ce_type: tuple[str, bytes],
        value: bytes,
        version: int,
        index: int,
        count: int,
    ) -> Outgoing: ...
