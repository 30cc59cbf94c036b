"""Every name that reaches Kafka or Postgres, made in one place: all begin with the namespace and the app.

Staging must not fence production, so transactional ids carry the prefix too; tests isolate by it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from eventsource.errors import DefinitionError

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def check_name(name: str, what: str) -> str:
    """Returns `name` if it is lower-case words joined by hyphens; raises `DefinitionError` naming `what` otherwise."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise DefinitionError(
            f"{what} {name!r} is not a valid name: use lower-case letters, digits and single hyphens, beginning with a letter"
        )
    return name


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one app in one namespace (empty: none)."""

    app: str
    namespace: str = ""

    def __post_init__(self) -> None:
        check_name(self.app, "app")
        if self.namespace:
            check_name(self.namespace, "namespace")

    @property
    def prefix(self) -> str:
        """`{namespace}.{app}`, or `{app}` without a namespace."""
        return f"{self.namespace}.{self.app}" if self.namespace else self.app

    def commands(self, aggregate: str) -> str:
        return f"{self.prefix}.{aggregate}.commands"

    def events(self, aggregate: str) -> str:
        return f"{self.prefix}.{aggregate}.events"

    def outcomes(self, aggregate: str) -> str:
        return f"{self.prefix}.{aggregate}.outcomes"

    def dead_letters(self, aggregate: str) -> str:
        """Copies of the commands that an aggregate's handlers failed on."""
        return f"{self.prefix}.{aggregate}.dead-letters"

    @property
    def replies(self) -> str:
        return f"{self.prefix}.replies"

    @property
    def schemas(self) -> str:
        return f"{self.prefix}.schemas"

    @property
    def meta(self) -> str:
        """The compacted topic that records what was created: partition counts and topic ids."""
        return f"{self.prefix}.meta"

    def owners(self, aggregate: str) -> str:
        """The consumer group of an aggregate's partition owners."""
        return f"{self.prefix}.{aggregate}.owners"

    def consumer(self, kind: str, name: str) -> str:
        """The consumer group of a projection, saga or reactor, such as `bank.projection.balances`."""
        return f"{self.prefix}.{kind}.{name}"

    def transactional_id(self, aggregate: str, partition: int, turn: int) -> str:
        """`{prefix}.{aggregate}.{partition}.{turn}`: the fence of one partition; `turn` is 0 or 1."""
        return f"{self.prefix}.{aggregate}.{partition}.{turn}"

    @property
    def database_schema(self) -> str:
        """The Postgres schema of the app's read models and positions (hyphens and dots become underscores)."""
        return self.prefix.replace(".", "__").replace("-", "_")
