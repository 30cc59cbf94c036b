"""Whether a state store can be written. One that cannot is set aside until it can: it is a cache, and commands do not wait for it."""

from __future__ import annotations

from typing import Final

import structlog

from eventsource.clock import Clock, SystemClock

_log = structlog.get_logger("eventsource.state_store")

_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 15.0
_LOG_SECONDS: Final = 60.0


class StoreHealth:
    """For one partition's store. Belongs to its owner's thread."""

    def __init__(self, aggregate: str, clock: Clock | None = None) -> None:
        self._aggregate = aggregate
        self._monotonic = (clock if clock is not None else SystemClock()).monotonic
        self._pause = _FIRST_PAUSE_SECONDS
        self._since: float | None = None
        self._again_at = float("-inf")
        self._logged_at = float("-inf")

    @property
    def is_aside(self) -> bool:
        """Whether the last attempt to write failed."""
        return self._since is not None

    @property
    def may_try(self) -> bool:
        """Whether to write now: always while that works, else after a pause that grows to a quarter of a minute."""
        return self._since is None or self._monotonic() >= self._again_at

    def failed(self, reason: str) -> None:
        """It could not be written."""
        now = self._monotonic()
        if self._since is None:
            self._since = now
        self._again_at = now + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
        if now - self._logged_at >= _LOG_SECONDS:
            self._logged_at = now
            _log.warning("state_store_set_aside", aggregate=self._aggregate, reason=reason)

    def worked(self) -> None:
        """It was written."""
        since, self._since = self._since, None
        if since is not None:
            self._pause = _FIRST_PAUSE_SECONDS
            self._logged_at = float("-inf")
            _log.info("state_store_back", aggregate=self._aggregate, seconds=round(self._monotonic() - since, 1))
