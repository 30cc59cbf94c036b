"""What the owners of one aggregate's partitions share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from eventsource.app import App
from eventsource.clock import Clock
from eventsource.commands.aggregate_codecs import AggregateCodecs
from eventsource.commands.memory_budget import MemoryBudget
from eventsource.commands.replies import ReplySender
from eventsource.commands.take_overs import TakeOvers
from eventsource.commands.turns import Turns
from eventsource.domain import Aggregate
from eventsource.log.admin import LogAdmin
from eventsource.log.identity import TopicIdentities
from eventsource.log.membership import Membership
from eventsource.log.steps import StepListener
from eventsource.names import Names
from eventsource.settings import Settings

_HOUR_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class OwnerParts:
    """What the owners of one aggregate's partitions share."""

    app: App
    aggregate: type[Aggregate[Any]]
    settings: Settings
    codecs: AggregateCodecs
    clock: Clock
    admin: LogAdmin
    membership: Membership
    replies: ReplySender
    topic_ids: Mapping[str, bytes]
    """Kafka's ids of the aggregate's commands, events and outcomes topics."""
    identities: TopicIdentities
    budget: MemoryBudget
    turns: Turns
    take_overs: TakeOvers
    on_step: StepListener

    @property
    def names(self) -> Names:
        return self.app.names(self.settings.namespace)

    @property
    def window_ms(self) -> int | None:
        """The deduplication window in milliseconds; None: forever."""
        if self.aggregate in self.app.remember_commands_forever:
            return None
        return int(self.settings.worker.deduplication_window_hours * _HOUR_MS)
