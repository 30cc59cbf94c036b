"""How many commands a consumer group has handled, seen from outside.

Whoever handles commands exactly once commits the offset of the next one in the same transaction as what they led to. Commands are
written without transactions, so that their offsets have no gaps: the sum of committed offsets is the number of handled commands, for
the framework and for its peers alike. Asking for it costs the broker next to nothing.
"""

from __future__ import annotations

import time
from typing import Final

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from benchmarks.children import Child, ChildFailed
from benchmarks.rates import Look

_LOOK_SECONDS: Final = 0.02
_REQUEST_SECONDS: Final = 30.0
_NOT_YET: Final = frozenset(
    {KafkaError.GROUP_ID_NOT_FOUND, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.COORDINATOR_LOAD_IN_PROGRESS}
)


class HandledCommands:
    """Counts what one group has handled of a commands topic that was written from its beginning."""

    def __init__(self, bootstrap_servers: str, topic: str, partitions: int, group: str) -> None:
        self._admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 2})
        places = [TopicPartition(topic, partition) for partition in range(partitions)]
        self._request = ConsumerGroupTopicPartitions(group, places)

    def count(self) -> int:
        """How many commands are handled and committed by now."""
        (future,) = self._admin.list_consumer_group_offsets([self._request], request_timeout=_REQUEST_SECONDS).values()
        try:
            found = future.result()
        except KafkaException as error:
            if error.args[0].code() in _NOT_YET:
                return 0
            raise
        return sum(max(0, place.offset) for place in found.topic_partitions)

    def watch(self, total: int, child: Child, *, patience_seconds: float = 120.0) -> list[Look]:
        """Looks until `total` are handled by a child.

        Raises `ChildFailed` when the child ends, or nothing moves for `patience_seconds`.
        """
        looks: list[Look] = []
        moved = time.monotonic()
        while True:
            child.check()
            look = Look(seconds=time.monotonic(), handled=self.count(), cpu_seconds=child.cpu_seconds())
            if not looks or look.handled != looks[-1].handled:
                moved = look.seconds
            looks.append(look)
            if look.handled >= total:
                return looks
            if look.seconds - moved > patience_seconds:
                raise ChildFailed(
                    f"{child.name} handled {look.handled:,} of {total:,} commands, and then none for {patience_seconds:g} s"
                )
            time.sleep(_LOOK_SECONDS)
