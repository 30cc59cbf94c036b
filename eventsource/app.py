"""An app: the aggregates and consumers that are deployed together, under one name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from eventsource.domain import Aggregate, Command, Event
from eventsource.errors import DefinitionError
from eventsource.names import Names, check_name

if TYPE_CHECKING:
    from eventsource.commands.client import Client
    from eventsource.consuming.definition import ConsumerDefinition
    from eventsource.settings import Settings

DEFAULT_PARTITIONS: Final = 8
T = TypeVar("T")


class App:
    """The aggregates and consumers that are deployed together under one name.

        bank = App("bank", aggregates=[Account], consumers=[Balances])

    * `name` is part of every topic, consumer group, transactional id and Postgres schema of the app. It cannot be changed once there
      are events.
    * `aggregates` are the classes whose commands the app's workers handle.
    * `consumers` are its projections. Each may handle only events that one of these aggregates records.
    * `partitions` is the number of partitions of each aggregate's topics: one number for all, or one per aggregate class. It decides
      which partition an id belongs to, is recorded when the topics are made, and can never be changed afterwards.
    * `remember_commands_forever` names the aggregates whose command ids are remembered without a time limit. The others' are
      forgotten after EVENTSOURCE_WORKER__DEDUPLICATION_WINDOW_HOURS.

    An app holds no connection and reads no setting: it may be made when a module is imported. `connect` returns a client, `Worker` and
    `eventsource run` run it, and `TestApp` runs it in memory. Raises `DefinitionError` when a name is used twice, for what is no
    aggregate, no consumer, no number of partitions or not one of the app's aggregates, and for a consumer that does not fit the
    aggregates.
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
            _by_name(
                "aggregate",
                name,
                [(aggregate.__definition__.name, aggregate) for aggregate in _aggregates(name, aggregates)],
            )
        )
        self.consumers: Mapping[str, ConsumerDefinition] = MappingProxyType(
            _by_name("consumer", name, [(consumer.consumer_name, consumer) for consumer in _consumers(name, consumers)])
        )
        self.remember_commands_forever = frozenset(
            self._own("remember_commands_forever", each)
            for each in _several(name, "remember_commands_forever", remember_commands_forever)
        )
        self._partitions = self._counts(partitions)
        for consumer in self.consumers.values():
            consumer.check(self)

    def partitions_of(self, aggregate: type[Aggregate[Any]]) -> int:
        """How many partitions the topics of an aggregate have."""
        if isinstance(self._partitions, int):
            return self._partitions
        return self._partitions.get(aggregate, DEFAULT_PARTITIONS)

    def _counts(self, partitions: object) -> int | dict[type[Aggregate[Any]], int]:
        if isinstance(partitions, Mapping):
            return {
                self._own("partitions", aggregate): self._count(count, f"of {_shown(aggregate)}")
                for aggregate, count in partitions.items()
            }
        return self._count(partitions, "of each aggregate")

    def _count(self, count: object, whose: str) -> int:
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise DefinitionError(
                f"app {self.name!r}: the number of partitions {whose} is {count!r}: give a whole number from 1 upwards, or a mapping "
                "of aggregate classes to such numbers"
            )
        return count

    def _own(self, argument: str, aggregate: object) -> type[Aggregate[Any]]:
        """What an argument names, if it is one of the app's aggregate classes. Raises `DefinitionError`."""
        for own in self.aggregates.values():
            if own is aggregate:
                return own
        named = self.aggregates.get(aggregate) if isinstance(aggregate, str) else None
        if named is not None:
            remedy = f"give the class, {named.__name__}"
        elif isinstance(aggregate, type) and issubclass(aggregate, Aggregate):
            remedy = "add it to aggregates, or leave it out"
        else:
            remedy = f"give one of {', '.join(own.__name__ for own in self.aggregates.values())}"
        raise DefinitionError(
            f"app {self.name!r}: {argument} names {_shown(aggregate)}, which is none of its aggregate classes: {remedy}"
        )

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


def _aggregates(app: str, given: object) -> list[type[Aggregate[Any]]]:
    """What `aggregates=` was given, if these are classes of aggregates with a name. Raises `DefinitionError`."""
    found: list[type[Aggregate[Any]]] = []
    for item in _several(app, "aggregates", given):
        if not isinstance(item, type) or not issubclass(item, Aggregate):
            remedy = (
                f"give the class, {type(item).__name__}"
                if isinstance(item, Aggregate)
                else "give subclasses of Aggregate"
            )
            raise DefinitionError(
                f"app {app!r}: aggregates names {_shown(item)}, which is no aggregate class: {remedy}"
            )
        if not hasattr(item, "__definition__"):
            raise DefinitionError(
                f"app {app!r}: {item.__name__} is an abstract aggregate: give a class that has a name"
            )
        found.append(item)
    return found


def _consumers(app: str, given: object) -> list[ConsumerDefinition]:
    """What `consumers=` was given, if these are projections or the like. Raises `DefinitionError`."""
    found: list[ConsumerDefinition] = []
    for item in _several(app, "consumers", given):
        if not isinstance(getattr(item, "consumer_name", None), str) or not callable(getattr(item, "check", None)):
            raise DefinitionError(
                f"app {app!r}: consumers names {_shown(item)}, which is no consumer: {_consumer_remedy(item)}"
            )
        found.append(cast("ConsumerDefinition", item))
    return found


def _consumer_remedy(item: object) -> str:
    if isinstance(item, type) and issubclass(item, Aggregate):
        return "add it to aggregates"
    if isinstance(item, type) and issubclass(item, Command | Event):
        return "give a projection with a method that takes it; messages belong to an app by their aggregate"
    if isinstance(getattr(item, "__tablename__", None), str):
        return "it is a read model: give the projection that builds it"
    if hasattr(item, "consumer_kind"):
        return "it is abstract: give a class that has a name"
    return "give classes of projections"


def _several(app: str, argument: str, given: object) -> list[object]:
    if isinstance(given, str | bytes | type) or not isinstance(given, Iterable):
        raise DefinitionError(
            f"app {app!r}: {argument}={_shown(given)}: give a list of classes, such as {argument}=[…]"
        )
    return list(given)


def _shown(value: object) -> str:
    return value.__name__ if isinstance(value, type) else repr(value)


def _by_name(what: str, app: str, named: Sequence[tuple[str, T]]) -> dict[str, T]:
    found: dict[str, T] = {}
    for name, item in named:
        if name in found:
            raise DefinitionError(
                f"app {app!r}: {what} name {name!r} is used by {found[name]!r} and {item!r}: rename one of them"
            )
        found[name] = item
    return found
