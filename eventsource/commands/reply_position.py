"""Where a client reads its replies: a partition of the replies topic, and the next offset in it."""

from __future__ import annotations

from eventsource.errors import TopicMissing
from eventsource.log.admin import LogAdmin, TopicAndPartition
from eventsource.log.partitioner import partition_for


class ReplyPosition:
    """The partition is chosen by the client's id. Raises `BrokerUnavailable` and other `LogError`s."""

    def __init__(self, admin: LogAdmin, topic: str, client_id: bytes) -> None:
        self._admin = admin
        self._topic = topic
        self._client_id = client_id
        described = admin.wait_until_described({topic})[topic]
        self._topic_id = described.topic_id
        self.partition = partition_for(client_id, len(described.replicas))
        # The end is resolved before the first request is sent: a consumer that begins "at the end" resolves it later, and
        # loses the replies that came first.
        self.offset = admin.end_offsets([self.place])[self.place]

    @property
    def place(self) -> TopicAndPartition:
        """Topic and partition."""
        return self._topic, self.partition

    def resolve_again(self) -> None:
        """After an error: keeps the position where the log still has it, else takes the first offset that there is.

        Not the end: what the topic holds beyond a position that was lost is unread, and may answer a request of this client.
        """
        described = self._admin.descriptions({self._topic}).get(self._topic)
        if described is None:
            raise TopicMissing(
                f"topic {self._topic} is missing: make it with `eventsource topics apply MODULE:APP`; the client goes on then"
            )
        partition = partition_for(self._client_id, len(described.replicas))
        is_same = described.topic_id == self._topic_id and partition == self.partition
        place = self._topic, partition
        first = self._admin.first_offsets([place])[place]
        end = self._admin.end_offsets([place])[place]
        self.offset = self.offset if is_same and first <= self.offset <= end else first
        self.partition, self._topic_id = partition, described.topic_id
