"""Notices a command that does not end."""

from __future__ import annotations

from typing import Final, Protocol

import structlog

from eventsource.clock import Clock
from eventsource.commands.request import Request

_log = structlog.get_logger("eventsource.owner")

HANGS_AFTER_SECONDS: Final = 30.0
"""A command that is at hand for so long is told of, and its partition is not ready."""
DEAD_AFTER_SECONDS: Final = 300.0
"""After so long the process is better ended. Not sooner: its other partitions are well, and the command may hang elsewhere too."""


class Deciding(Protocol):
    """What is watched: see `CommandHandling`."""

    deciding: Request | None


class HangWatch:
    """Looks now and then, from another thread than the one that handles commands, which pays nothing for it.

    A command is taken to have begun when it was seen first. It is told of once, with its place and ids.
    """

    def __init__(self, handling: Deciding, aggregate: str, clock: Clock) -> None:
        self._handling = handling
        self._aggregate = aggregate
        self._clock = clock
        self._seen: Request | None = None
        self._seen_at = 0.0
        self._told = False

    def look(self) -> None:
        """To be called a few times a second, by one thread."""
        request = self._handling.deciding
        if request is None or request is not self._seen:
            self._seen_at = self._clock.monotonic()
            self._seen, self._told = request, False
        elif not self._told and self.seconds >= HANGS_AFTER_SECONDS:
            self._told = True
            _log.warning(
                "command_hangs",
                aggregate=self._aggregate,
                partition=request.record.partition,
                offset=request.record.offset,
                aggregate_id=request.aggregate_id,
                command_id=request.headers.command_id,
                command=request.headers.type,
                seconds=round(self.seconds, 1),
            )

    @property
    def seconds(self) -> float:
        """How long the command at hand has been seen so far; 0.0 where none has been seen twice. Any thread may ask."""
        seen_at, seen = self._seen_at, self._seen
        if seen is None or seen is not self._handling.deciding:
            return 0.0
        return self._clock.monotonic() - seen_at
