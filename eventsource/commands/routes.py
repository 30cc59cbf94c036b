"""Where the commands of an app's aggregates go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from eventsource.app import App
from eventsource.commands.reply import topic_crc
from eventsource.domain import Aggregate
from eventsource.errors import DefinitionError, TopicMismatch, TopicMissing
from eventsource.log.admin import LogAdmin
from eventsource.log.partitioner import partition_for
from eventsource.names import Names


class Route(NamedTuple):
    """An aggregate's topics, the id of the one whose positions its tokens name, and by what its replies name that of its commands."""

    aggregate: str
    commands: str
    events: str
    partitions: int
    events_topic_id: bytes
    topic_crc: int

    def partition(self, key: bytes) -> int:
        """The partition of a key, in both topics."""
        return partition_for(key, self.partitions)


class Routes:
    """The routes of an app."""

    def __init__(self, app: str, routes: Mapping[str, Route]) -> None:
        self._app = app
        self._routes = routes

    @classmethod
    def find(cls, app: App, names: Names, admin: LogAdmin) -> Routes:
        """Asks the brokers. Raises `BrokerUnavailable`, `TopicMissing`, and `TopicMismatch` where the number of partitions differs."""
        partitions = {name: app.partitions_of(aggregate) for name, aggregate in app.aggregates.items()}
        commands = {name: names.commands(name) for name in partitions}
        events = {name: names.events(name) for name in partitions}
        needed = {*commands.values(), *events.values(), names.replies, names.schemas}
        found = admin.descriptions(needed)
        missing = sorted(needed - set(found))
        if missing:
            raise TopicMissing(
                f"topics are missing: {', '.join(missing)}: make them with `eventsource topics apply MODULE:APP`"
            )
        counts = {topic: len(described.replicas) for topic, described in found.items()}
        for name, topic in commands.items():
            if counts[topic] != partitions[name]:
                raise TopicMismatch(
                    f"{topic} has {counts[topic]} partitions, the app says {partitions[name]}: give the app "
                    f"partitions={counts[topic]}, or it would send commands to an owner that is none"
                )
        return cls(
            app.name,
            {
                name: Route(name, topic, events[name], partitions[name], found[events[name]].topic_id, topic_crc(topic))
                for name, topic in commands.items()
            },
        )

    def of(self, aggregate: type[Aggregate[Any]]) -> Route:
        """The route of an aggregate's commands. Raises `DefinitionError` if it is none of the app's."""
        name = aggregate.__definition__.name
        route = self._routes.get(name)
        if route is None:
            raise DefinitionError(f"aggregate {name!r} is not one of app {self._app!r}: add it to its aggregates")
        return route
