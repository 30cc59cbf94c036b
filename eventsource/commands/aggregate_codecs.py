"""What an aggregate's commands, events, outcomes and states are written and read with."""

from __future__ import annotations

from typing import Any

from eventsource.commands.status import OUTCOME_NAME, Outcome
from eventsource.domain import Aggregate, Command
from eventsource.log.events import EventDecoder
from eventsource.schemas import COMMAND_ROLE, OWN_LIMITS, MessageCodec, SchemaStore, StateCodec, codecs_by_name


class AggregateCodecs:
    """Made once and shared by all partitions of an aggregate: to make a codec takes milliseconds. Safe to share between threads.

    `state` is None where the aggregate's state cannot be written exactly.
    """

    def __init__(
        self, aggregate: type[Aggregate[Any]], schemas: SchemaStore, state: StateCodec[Any] | None = None
    ) -> None:
        self.schemas = schemas
        self.commands: dict[str, MessageCodec[Command]] = codecs_by_name(
            aggregate.__definition__.commands, schemas, role=COMMAND_ROLE
        )
        self.events = EventDecoder(aggregate, schemas)
        self.outcomes = MessageCodec(Outcome, OUTCOME_NAME, schemas, limits=OWN_LIMITS)
        self.state = state
