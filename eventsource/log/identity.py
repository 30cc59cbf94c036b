"""Which topics a process began to work with: Kafka's ids of them, by name."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from eventsource.errors import TopicMismatch


class TopicIdentities:
    """Remembers the id of each topic from its first use on. Safe to share between threads.

    A worker's start compares the ids with those recorded when the topics were made. Whatever is begun later in the process, after
    an outage or a rebalance, must meet the same topics: a topic that was deleted and created again is empty, and its aggregates
    would be decided on as if they had no history.
    """

    def __init__(self) -> None:
        self._ids: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def check(self, topic_ids: Mapping[str, bytes]) -> None:
        """Raises `TopicMismatch` if one of these topics had another id before."""
        with self._lock:
            for name, topic_id in topic_ids.items():
                before = self._ids.setdefault(name, topic_id)
                if before != topic_id:
                    raise TopicMismatch(
                        f"topic {name} was deleted and created again while this worker ran (id {before.hex()} is {topic_id.hex()} now), "
                        "so old positions mean other records: restore it, or begin again with all the app's topics and read models deleted"
                    )
