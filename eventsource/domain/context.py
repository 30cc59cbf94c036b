"""What a decision may know besides the aggregate and the command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Context:
    """The circumstances of one command. Its `time` is the only clock a decision has."""

    id: str
    """The aggregate's id."""
    version: int
    """The aggregate's version before this command: the number of its events; 0 when it does not exist."""
    time: datetime
    """When the log took the command in (its LogAppendTime): aware, in UTC."""
    command_id: str
    correlation_id: str
    """The id that everything which one request set off has in common."""
    actor: str | None = None
    """Who asked, as the client said."""
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """What the client sent along, such as a tenant."""
