"""An app: the aggregates and consumers that are deployed together, under one name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from eventsource.domain import Aggregate
from eventsource.errors import DefinitionError
from eventsource.names import Names, check_name

if TYPE_CHECKING:
    from eventsource.commands.client import Client
    from eventsource.consuming.definition import ConsumerDefinition
    from eventsource.settings import Settings

DEFAULT_PARTITIONS: Final = 8
T = TypeVar("T")


class App:
    """`App("bank", aggregates=[Account], consumers=[Balances])`.

    `partitions` is the number of partitions of each aggregate's topics: one number for all, or one per aggregate class. It is
    recorded when the topics are made and can never be changed afterwards: an id's partition is its place in the order of
    things. `remember_commands_forever` names the aggregates whose command ids are deduplicated without a time limit.
    Raises `DefinitionError` when a name is used twice.
    """

    def __init__(
        self,
        name: str,
        *,
        aggregates: Sequence[type[Aggregate[Any]]],
        consumers: Sequence[ConsumerDefinition] = (),
        partitions: int | Mapping[type[Aggregate[Any]], int] = DEFAULT_PARTITIONS,
        remember_commands_forever: Iterable[type[Aggregate[Any]]] = (),
    ) -> None:
        self.name = check_name(name, "app")
        self.aggregates: Mapping[str, type[Aggregate[Any]]] = MappingProxyType(
            _by_name("aggregate", self.name, [(aggregate.__definition__.name, aggregate) for aggregate in aggregates])
        )
        self.consumers: Mapping[str, ConsumerDefinition] = MappingProxyType(
            _by_name("consumer", self.name, [(consumer.consumer_name, consumer) for consumer in consumers])
        )
        self.remember_commands_forever = frozenset(remember_commands_forever)
        self._partitions = partitions
        for aggregate_class in self.aggregates.values():
            count = self.partitions_of(aggregate_class)
            if count < 1:
                raise DefinitionError(
                    f"app {self.name!r}: {aggregate_class.__name__} has {count} partitions: give it at least 1"
                )

    def partitions_of(self, aggregate: type[Aggregate[Any]]) -> int:
        """How many partitions the topics of an aggregate have."""
        if isinstance(self._partitions, int):
            return self._partitions
        return self._partitions.get(aggregate, DEFAULT_PARTITIONS)

    def names(self, namespace: str = "") -> Names:
        """The names of everything that this app has in Kafka and Postgres."""
        return Names(self.name, namespace)

    def connect(self, settings: Settings | None = None) -> Client:
        """A client of this app; use it with `with` or `async with`. Without `settings`, they are read from the environment."""
        from eventsource.commands.client import Client
        from eventsource.settings import load_settings

        return Client(self, settings if settings is not None else load_settings())

    def __repr__(self) -> str:
        return f"App({self.name!r}, aggregates={sorted(self.aggregates)}, consumers={sorted(self.consumers)})"


def _by_name(what: str, app: str, named: Sequence[tuple[str, T]]) -> dict[str, T]:
    found: dict[str, T] = {}
    for name, item in named:
        if name in found:
            raise DefinitionError(
                f"app {app!r}: {what} name {name!r} is used by {found[name]!r} and {item!r}: rename one of them"
            )
        found[name] = item
    return found
