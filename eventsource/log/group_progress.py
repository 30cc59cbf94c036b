"""Whether a consumer group makes progress, as one of its members sees it in librdkafka's statistics."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Final

import structlog

_log = structlog.get_logger("eventsource.membership")

_STEADY: Final = "steady"
_CONNECTED: Final = "up"
_REPORTED_AFTER_SECONDS: Final = 15.0
_REPORTED_AGAIN_SECONDS: Final = 60.0


class GroupProgress:
    """The membership's thread writes it, any may read.

    `patience_seconds` is how long a rebalance may take before this member counts as one without assignment: in a session without a
    heartbeat the group gives its partitions to others. `settling_seconds` is how long after an assignment without partitions one with
    some may still follow, because another member has to give them up first.
    """

    def __init__(
        self, group: str, patience_seconds: float, settling_seconds: float, monotonic: Callable[[], float]
    ) -> None:
        self._group = group
        self._patience_seconds = patience_seconds
        self._settling_seconds = settling_seconds
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._assigned_at: float | None = None
        self._without_since = monotonic()
        self._rebalancing_since: float | None = None
        self._join_state = "init"
        self._coordinator_is_connected = False
        self._reported_at = float("-inf")

    @property
    def assigned(self) -> bool:
        """Whether there was an assignment, and no loss since."""
        return self._assigned_at is not None

    def is_settled(self, *, owns_any: bool) -> bool:
        """Whether the member has what the group gave it, and nothing more is on its way."""
        now = self._monotonic()
        with self._lock:
            if self._assigned_at is None or self._is_stuck(now):
                return False
            if owns_any:
                return True
            return self._rebalancing_since is None and now - self._assigned_at >= self._settling_seconds

    def unassigned_seconds(self) -> float:
        """How long there has been no assignment that holds; 0 while there is one."""
        now = self._monotonic()
        with self._lock:
            if self._assigned_at is None:
                return now - self._without_since
            if self._rebalancing_since is not None and self._is_stuck(now):
                return now - self._rebalancing_since
            return 0.0

    def note_assignment(self) -> None:
        """The group gave an assignment, perhaps an empty one."""
        with self._lock:
            self._assigned_at = self._monotonic()
            self._rebalancing_since = None

    def note_loss(self) -> None:
        """What was assigned is others' already."""
        with self._lock:
            self._assigned_at = None
            self._without_since = self._monotonic()

    def statistics(self, text: str) -> None:
        """librdkafka's `stats_cb`."""
        group = json.loads(text).get("cgrp")
        if group is None:
            return
        self._join_state = str(group.get("join_state", ""))
        self._coordinator_is_connected = group.get("state") == _CONNECTED
        with self._lock:
            if self._join_state == _STEADY:
                self._rebalancing_since = None
            elif self._rebalancing_since is None:
                self._rebalancing_since = self._monotonic()

    def look(self) -> None:
        """Reports a group without progress, once a minute. To be called often."""
        seconds, now = self.unassigned_seconds(), self._monotonic()
        if seconds >= _REPORTED_AFTER_SECONDS and now - self._reported_at >= _REPORTED_AGAIN_SECONDS:
            self._reported_at = now
            _log.warning(
                "group_without_progress",
                group=self._group,
                seconds=round(seconds),
                join_state=self._join_state,
                # Without its coordinator no group makes progress: that is part of an outage, of which one line a minute is enough.
                about=self._group if self._coordinator_is_connected else "kafka",
            )
        elif seconds == 0 and self._reported_at != float("-inf"):
            self._reported_at = float("-inf")
            _log.info("group_makes_progress", group=self._group)

    def _is_stuck(self, now: float) -> bool:
        return self._rebalancing_since is not None and now - self._rebalancing_since >= self._patience_seconds
