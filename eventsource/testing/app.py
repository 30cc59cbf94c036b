"""A whole app in one process and in memory, on a virtual clock: for users' tests of how their pieces work together.

The very code that handles commands and folds events in production runs here, over a log and tables in memory. It proves
nothing about fencing, time-outs or concurrency: `eventsource_stack` gives a test the real servers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

from eventsource.app import App
from eventsource.commands.answers import answer_of
from eventsource.commands.handling import CommandHandling
from eventsource.commands.receipt import Receipt
from eventsource.commands.reply import Reply
from eventsource.consuming.definition import ConsumerDefinition, MemoryConsumer
from eventsource.domain import Aggregate, Command, Event
from eventsource.errors import DefinitionError
from eventsource.log.events import EventDecoder
from eventsource.log.headers import CommandHeaders, command_headers, make_trail
from eventsource.log.partitioner import aggregate_key, partition_for
from eventsource.log.record import Outgoing
from eventsource.log.recorded import Recorded, ms_from_time
from eventsource.schemas import MemorySchemaStore, MessageCodec
from eventsource.testing.memory_log import MemoryLog
from eventsource.testing.virtual_clock import VirtualClock

C = TypeVar("C", bound=Command)
A = TypeVar("A", bound=Aggregate[Any])
_DAY_MS: Final = 86_400_000
_MAX_EVENT_BYTES: Final = 900_000
_CLIENT_ID: Final = b"eventsource-test"


class TestApp:
    """`TestApp(bank).send(Account, "acc-1", Deposit(...))`, then `.rows(Balances)`.

    Command ids are counted (`command-1`, …) and the clock stands still until `clock.advance(...)`.
    """

    __test__ = False  # pytest must not take it for a test class

    def __init__(self, app: App, *, clock: VirtualClock | None = None) -> None:
        self.clock = clock if clock is not None else VirtualClock()
        self._app = app
        self._names = app.names()
        self._schemas = MemorySchemaStore()
        self._log = MemoryLog()
        self._handlings: dict[tuple[str, int], CommandHandling] = {}
        self._decoders = {name: EventDecoder(aggregate, self._schemas) for name, aggregate in app.aggregates.items()}
        self._recorded: list[Recorded] = []
        self._command_count = 0
        self._consumers: dict[str, MemoryConsumer] = {}
        for name, consumer in app.consumers.items():
            consumer.check(app)
            self._consumers[name] = consumer.in_memory(app)

    def send(
        self,
        aggregate: type[Aggregate[C]],
        aggregate_id: str | UUID,
        command: C,
        *,
        expected_version: int | None = None,
        command_id: str | None = None,
        sent_at: datetime | None = None,
        actor: str = "",
        correlation_id: str = "",
        causation_id: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> Receipt:
        """Sends a command, as `Client.send` does; its events have reached every consumer when this returns.

        Raises what `Client.send` raises, but never `OutcomeUnknown`.
        """
        name = aggregate.__definition__.name
        if self._app.aggregates.get(name) is not aggregate:
            raise DefinitionError(f"aggregate {name!r} is not one of app {self._app.name!r}: add it to its aggregates")
        self._command_count += 1
        id_ = command_id if command_id is not None else f"command-{self._command_count}"
        key = aggregate_key(aggregate_id)
        partition = partition_for(key, self._app.partitions_of(aggregate))
        codec = MessageCodec(type(command), command.message_name, self._schemas)
        headers = CommandHeaders(
            command_id=id_,
            type=command.message_name,
            source=f"/{self._names.prefix}/client",
            sent_at_ms=ms_from_time(sent_at if sent_at is not None else self.clock.now()),
            expected_version=expected_version,
            reply_partition=0,
            client_id=_CLIENT_ID,
            trail=make_trail(correlation_id, causation_id, actor, metadata),
        )
        outgoing = Outgoing(self._names.commands(name), partition, key, codec.encode(command), command_headers(headers))
        record = self._log.append(outgoing, ms_from_time(self.clock.now()))
        handling = self._handling(aggregate, partition)
        handled = handling.handle([record])
        appended = [self._log.append(written, record.timestamp_ms) for written in handled.records]
        handling.commit(handled, [written.offset for written in appended])
        events_topic = self._names.events(name)
        self._deliver([self._decoders[name].decode(written) for written in appended if written.topic == events_topic])
        answer = answer_of(
            Reply.decode_all(handling.replies(handled)[0][2])[0],
            aggregate,
            str(aggregate_id),
            MemoryLog.topic_id(events_topic),
        )
        if isinstance(answer, Exception):
            raise answer
        return answer

    def rows(self, consumer: ConsumerDefinition) -> Sequence[Any]:
        """The rows of a read model, in the order of their keys."""
        found = self._consumers.get(consumer.consumer_name)
        if found is None:
            raise DefinitionError(
                f"{consumer.consumer_name!r} is not a consumer of app {self._app.name!r}: add it to its consumers"
            )
        return found.rows()

    def events(
        self, aggregate: type[Aggregate[Any]] | None = None, aggregate_id: str | UUID | None = None
    ) -> list[Event]:
        """What was recorded so far, of all aggregates, one kind or one aggregate."""
        name = aggregate.__definition__.name if aggregate is not None else None
        id_ = str(aggregate_id) if aggregate_id is not None else None
        return [
            recorded.event
            for recorded in self._recorded
            if (name is None or recorded.aggregate == name) and (id_ is None or recorded.id == id_)
        ]

    def state(self, aggregate: type[A], aggregate_id: str | UUID) -> A | None:
        """A copy of an aggregate as it is now, or None where it does not exist."""
        key = aggregate_key(aggregate_id)
        handling = self._handling(aggregate, partition_for(key, self._app.partitions_of(aggregate)))
        current = handling.states.find(str(aggregate_id))
        if current is None:
            return None
        copied: A = aggregate.__definition__.copy(current.state)
        return copied

    def _handling(self, aggregate: type[Aggregate[Any]], partition: int) -> CommandHandling:
        name = aggregate.__definition__.name
        handling = self._handlings.get((name, partition))
        if handling is None:
            forever = aggregate in self._app.remember_commands_forever
            handling = self._handlings[name, partition] = CommandHandling(
                self._app,
                aggregate,
                partition,
                names=self._names,
                commands_topic_id=MemoryLog.topic_id(self._names.commands(name)),
                schemas=self._schemas,
                window_ms=None if forever else _DAY_MS,
                max_event_bytes=_MAX_EVENT_BYTES,
            )
        return handling

    def _deliver(self, events: list[Recorded]) -> None:
        self._recorded += events
        for consumer in self._consumers.values():
            consumer.handle(events)
