"""Events as every consumer meets them: the domain's event with where and why it was recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from eventsource.domain import Event
from eventsource.log.headers import EMPTY_TRAIL, Trail

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FLOAT_IS_EXACT_UNTIL_MS: Final = 2**32 * 1_000  # the year 2106


def time_from_ms(milliseconds: int) -> datetime:
    """An aware UTC time from milliseconds since 1970, exact."""
    if 0 <= milliseconds < _FLOAT_IS_EXACT_UNTIL_MS:
        # Three times as fast, and up to there a float of seconds is closer than half a microsecond to its value.
        return datetime.fromtimestamp(milliseconds / 1_000, UTC)
    return _EPOCH + timedelta(milliseconds=milliseconds)


def ms_from_time(time: datetime) -> int:
    """Milliseconds since 1970 of an aware time, rounded down."""
    return (time - _EPOCH) // timedelta(milliseconds=1)


@dataclass(slots=True)  # not frozen: made for every event, that would cost two microseconds more
class RecordedEvent:
    """An event in the log. Not to be changed.

    `id` and `version` are its aggregate's; `time` is the LogAppendTime of the command that caused it; `index` of `count`,
    from 1, is its place among the events of that command; `partition` and `offset` are where it stands in the events topic.
    """

    aggregate: str
    id: str
    version: int
    event: Event
    time: datetime
    command_id: str
    index: int
    count: int
    partition: int
    offset: int
    trail: Trail = EMPTY_TRAIL

    @property
    def correlation_id(self) -> str:
        """The id that ties together all that one request led to; the command's own id where nothing else was given."""
        return self.trail.correlation_id or self.command_id

    @property
    def actor(self) -> str | None:
        """Who sent the command, where the sender said so."""
        return self.trail.actor or None

    @property
    def metadata(self) -> Mapping[str, str]:
        """The sender's own metadata."""
        return self.trail.metadata


Recorded = RecordedEvent
"""The shorter name that modules of the framework use."""
