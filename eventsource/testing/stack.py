"""Real servers for a test session: an ephemeral embedded stack, or the servers that the environment names."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from eventsource.errors import SettingsError

if TYPE_CHECKING:
    from eventsource.embedded import EmbeddedStack

BOOTSTRAP_VARIABLE = "EVENTSOURCE_KAFKA__BOOTSTRAP_SERVERS"
POSTGRES_VARIABLE = "EVENTSOURCE_POSTGRES__URL"
STATE_VARIABLE = "EVENTSOURCE_WORKER__STATE_DIR"


@dataclass(frozen=True, slots=True)
class SessionStack:
    """The servers' addresses; `embedded` is None when they are the user's own."""

    bootstrap_servers: str
    postgres_url: str = field(repr=False)
    embedded: EmbeddedStack | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The variables that make the framework, and programs started by a test, use these servers."""
        stores_dir = self.embedded.stores_dir if self.embedded is not None else None
        return stack_environment(self.bootstrap_servers, self.postgres_url, stores_dir)


def stack_environment(bootstrap_servers: str, postgres_url: str, stores_dir: Path | None = None) -> dict[str, str]:
    """The variables of the framework's settings that name these servers, and where workers on them keep their state stores."""
    servers = {BOOTSTRAP_VARIABLE: bootstrap_servers, POSTGRES_VARIABLE: postgres_url}
    return servers if stores_dir is None else {**servers, STATE_VARIABLE: str(stores_dir)}


def configured_stack(environment: Mapping[str, str]) -> SessionStack | None:
    """The servers that `environment` names, or None. Raises `SettingsError` if it names only one of the two."""
    bootstrap_servers = environment.get(BOOTSTRAP_VARIABLE, "")
    postgres_url = environment.get(POSTGRES_VARIABLE, "")
    if bootstrap_servers and postgres_url:
        # Elsewhere the setting may name a SQLAlchemy driver; here psycopg itself reads it.
        scheme, separator, rest = postgres_url.partition("://")
        return SessionStack(bootstrap_servers, f"{scheme.partition('+')[0]}{separator}{rest}")
    if bootstrap_servers or postgres_url:
        missing = POSTGRES_VARIABLE if bootstrap_servers else BOOTSTRAP_VARIABLE
        raise SettingsError(
            f"tests run against servers of your own only if both are named: set {missing} too, or unset the other "
            "for an embedded stack"
        )
    return None


@contextlib.contextmanager
def session_stack(
    environment: Mapping[str, str], *, embedded: Callable[[], EmbeddedStack] | None = None
) -> Iterator[SessionStack]:
    """Yields the servers that `environment` names, else those of a stack made by `embedded` (default: an ephemeral one)."""
    configured = configured_stack(environment)
    if configured is not None:
        yield configured
        return
    if embedded is None:
        from eventsource.embedded import EmbeddedStack

        embedded = EmbeddedStack.ephemeral
    with embedded() as stack:
        yield SessionStack(stack.bootstrap_servers, stack.postgres_url, stack)
