"""What a client's requests are given where the call itself says nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from eventsource.commands.arguments import seconds_of, trail_of
from eventsource.log.headers import Trail


class RequestDefaults(NamedTuple):
    """The defaults of `Client.bound`. What the call gives goes before them; metadata is merged, key by key."""

    timeout_seconds: float | None = None
    actor: str = ""
    correlation_id: str = ""
    causation_id: str = ""
    metadata: Mapping[str, str] = {}

    def bound(
        self,
        *,
        timeout: float | None,
        actor: str,
        correlation_id: str,
        causation_id: str,
        metadata: Mapping[str, str] | None,
    ) -> RequestDefaults:
        """These, and on top of them those that are given. Raises `InvalidArgument`, as a request with them would."""
        trail_of(correlation_id, causation_id, actor, metadata)
        return RequestDefaults(
            self.timeout_seconds if timeout is None else seconds_of(timeout),
            actor or self.actor,
            correlation_id or self.correlation_id,
            causation_id or self.causation_id,
            {**self.metadata, **(metadata or {})},
        )

    def trail(self, correlation_id: str, causation_id: str, actor: str, metadata: Mapping[str, str] | None) -> Trail:
        """The trail of a request. Raises `InvalidArgument`."""
        if self.metadata and isinstance(metadata, Mapping | None):
            metadata = {**self.metadata, **(metadata or {})}
        return trail_of(
            correlation_id or self.correlation_id, causation_id or self.causation_id, actor or self.actor, metadata
        )

    def timeout(self, given: float | None, otherwise: float) -> float:
        """The time-out of a request, in seconds. Raises `InvalidArgument`."""
        if given is not None:
            return seconds_of(given)
        return otherwise if self.timeout_seconds is None else self.timeout_seconds


NO_DEFAULTS = RequestDefaults()
