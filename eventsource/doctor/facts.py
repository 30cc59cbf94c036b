"""All that the rules judge, gathered beforehand: a rule does no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from eventsource.doctor.answer import Answer, not_asked
from eventsource.log.admin import TopicAndPartition
from eventsource.log.meta_topic import ForeignRecords, TopicRecord
from eventsource.log.topics import TopicSpec, TopicState
from eventsource.schemas.history_check import Unreadable
from eventsource.settings import Settings

INTERNAL_TOPICS: Final = ("__consumer_offsets", "__transaction_state")


@dataclass(frozen=True, slots=True)
class Owned:
    """An aggregate as its partition owners see it: their group, the topics, and the deduplication window (None: forever)."""

    aggregate: str
    group: str
    commands: str
    events: str
    outcomes: str
    dead_letters: str
    partitions: int
    window_ms: int | None

    def command_partitions(self) -> list[TopicAndPartition]:
        """The partitions of the commands topic."""
        return [(self.commands, number) for number in range(self.partitions)]

    def fact_partitions(self) -> list[TopicAndPartition]:
        """The partitions of the events and the outcomes topic."""
        return [(topic, number) for topic in (self.events, self.outcomes) for number in range(self.partitions)]

    def written_partitions(self) -> list[TopicAndPartition]:
        """The partitions that owners write to in their transactions."""
        return self.fact_partitions() + [(self.dead_letters, number) for number in range(self.partitions)]


@dataclass(frozen=True, slots=True)
class ClockReading:
    """A record was sent at `sent_ms` and acknowledged at `acknowledged_ms` by this machine's clock, and given `broker_ms` in between."""

    sent_ms: int
    acknowledged_ms: int
    broker_ms: int

    @property
    def ahead_ms(self) -> int:
        """How far this machine's clock is ahead of the broker's at least; negative: behind; 0 where no difference is proven."""
        if self.broker_ms < self.sent_ms:
            return self.sent_ms - self.broker_ms
        return min(0, self.acknowledged_ms - self.broker_ms)


class Decision(StrEnum):
    """What the transaction's coordinator decided."""

    COMMIT = "commit"
    ABORT = "abort"
    NONE = "none"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Hanging:
    """The oldest open transaction of a partition; `offset` is that of its first record there.

    `transactional_id` and what follows are None where its owner is not known. `unknown_because` says why there is no decision.
    A transaction that is `completed` is over for its coordinator, who writes no marker any more.
    """

    where: TopicAndPartition
    offset: int
    age_seconds: float | None = None
    transactional_id: str | None = None
    producer_id: int | None = None
    producer_epoch: int | None = None
    decision: Decision = Decision.UNKNOWN
    unknown_because: str = ""
    completed: bool = False


@dataclass(frozen=True, slots=True)
class PartitionHistory:
    """What a replay of one partition's events and outcomes showed.

    `last_origin` is the offset of the newest command that left a trace, -1 where none did. `stopped` has the aggregates whose
    history cannot be trusted or read, and why; `foreign` the records that are not the framework's, `misrouted` the events whose
    key belongs to another partition, both as pairs of place and reason. `unseen` has the commands that were answered OK, with the
    offset that the answer names, where no reader of committed records sees an event.
    """

    aggregate: str
    partition: int
    events: int
    outcomes: int
    last_origin: int
    stopped: Mapping[str, str] = field(default_factory=dict)
    foreign: tuple[tuple[str, str], ...] = ()
    misrouted: tuple[tuple[str, str], ...] = ()
    unseen: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """What was asked of the cluster. Offsets are by topic and partition.

    `firsts` are the low watermarks; `ends` those of the commands topics, asked after `committed`. `last_origins` has the offset of
    the newest command that left an event or outcome (-1: none has), by the partition of the commands topic, asked before
    `committed`. `hanging` has the oldest open transaction of each partition where that has stood for longer than `open_limit_seconds`.
    `unreadable` are the registered schemas that today's events cannot read.
    `foreign` are the records of the meta and the schemas topic that are not the framework's, by topic.
    `strays` are committed offsets of an owners' group for other topics than its commands, by group.
    """

    settings: Settings
    production: bool
    specs: tuple[TopicSpec, ...]
    owned: tuple[Owned, ...]
    brokers: Answer[tuple[int, ...]]
    broker_settings: Mapping[int, Answer[Mapping[str, str]]] = field(default_factory=dict)
    topics: Answer[Mapping[str, TopicState]] = field(default_factory=not_asked)
    internal: Answer[Mapping[str, TopicState]] = field(default_factory=not_asked)
    unreadable: Answer[tuple[Unreadable, ...]] = field(default_factory=not_asked)
    recorded: Answer[Mapping[str, TopicRecord]] = field(default_factory=not_asked)
    firsts: Answer[Mapping[TopicAndPartition, int]] = field(default_factory=not_asked)
    ends: Answer[Mapping[TopicAndPartition, int]] = field(default_factory=not_asked)
    committed: Answer[Mapping[TopicAndPartition, int | None]] = field(default_factory=not_asked)
    last_origins: Answer[Mapping[TopicAndPartition, int]] = field(default_factory=not_asked)
    hanging: Answer[tuple[Hanging, ...]] = field(default_factory=not_asked)
    open_limit_seconds: float = 0.0
    strays: Answer[Mapping[str, tuple[TopicAndPartition, ...]]] = field(default_factory=not_asked)
    clock: Answer[ClockReading | None] = field(default_factory=not_asked)
    histories: Answer[tuple[PartitionHistory, ...]] = field(default_factory=not_asked)
    foreign: Answer[Mapping[str, ForeignRecords]] = field(default_factory=not_asked)

    @property
    def bootstrap(self) -> str:
        """The brokers' address as it goes into commands."""
        return self.settings.kafka.bootstrap_servers
