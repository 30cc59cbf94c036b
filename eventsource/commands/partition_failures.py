"""The partitions of an aggregate that an error stopped, while the worker goes on with the others."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from eventsource.failure import (
    PROVEN_SECONDS,
    Repetition,
    describe,
    is_tried_again,
    retry_wait_seconds,
    traceback_of,
)
from eventsource.telemetry import PartitionFailureMetrics

_log = structlog.get_logger("eventsource.owner")


@dataclass(slots=True)
class _Failed:
    reason: str
    failures: int
    retry_at: float | None
    handling_since: float | None = None
    repetition: Repetition = field(default_factory=Repetition)


class PartitionFailures:
    """Belongs to the runner's thread, but for `shown`. Times are monotonic, in seconds."""

    def __init__(self, aggregate: str, wait_seconds: Callable[[int], float] = retry_wait_seconds) -> None:
        self._aggregate = aggregate
        self._wait_seconds = wait_seconds
        self._failed: dict[int, _Failed] = {}
        self._lock = threading.Lock()
        self._metrics = PartitionFailureMetrics(aggregate)

    def shown(self) -> dict[int, str]:
        """The partitions that failed and have not recovered, each with the class of its error. May be called from any thread."""
        with self._lock:
            return {partition: failed.reason for partition, failed in self._failed.items()}

    def add(self, partition: int, error: BaseException, now: float) -> None:
        """A partition's owner ended with an error."""
        before = self._failed.get(partition)
        failures = 1 if before is None else before.failures + 1
        seconds = self._wait_seconds(failures) if is_tried_again(error) else None
        failed = _Failed(type(error).__name__, failures, None if seconds is None else now + seconds)
        if before is not None:
            failed.repetition = before.repetition
        else:
            self._metrics.failed(partition, 1)
        with self._lock:
            self._failed[partition] = failed
        self._metrics.failure(partition, error)
        if failed.repetition.is_logged(error, now):
            _log.error(
                "partition_failed",
                aggregate=self._aggregate,
                partition=partition,
                error=describe(error),
                next=f"it is taken over again in {seconds:.0f} s, then at least every minute; the other partitions go on"
                if seconds is not None
                else "it is not tried again, since the log is another than it was; the other partitions go on: "
                "restart the worker once the log is repaired",
                failures=failures,
                exc_info=traceback_of(error),
            )

    def may_start(self, partition: int, now: float) -> bool:
        """Whether a partition's owner may be started: none failed, or it is time to try again."""
        failed = self._failed.get(partition)
        return failed is None or (failed.retry_at is not None and now >= failed.retry_at)

    def note(self, partition: int, *, handling: bool, now: float) -> None:
        """What the owner that was started again does now; once it has handled for some seconds, the partition has recovered."""
        failed = self._failed.get(partition)
        if failed is None:
            return
        if not handling:
            failed.handling_since = None
        elif failed.handling_since is None:
            failed.handling_since = now
        elif now - failed.handling_since >= PROVEN_SECONDS:
            self._remove(partition)
            _log.info("partition_recovered", aggregate=self._aggregate, partition=partition)

    def keep(self, partitions: set[int]) -> None:
        """The partitions that the group gives this worker now: of others' it knows nothing, unless their log was damaged."""
        for partition in [*self._failed]:
            if partition not in partitions and self._failed[partition].retry_at is not None:
                self._remove(partition)

    def close(self) -> None:
        """The runner ends: what may be tried again begins afresh with the next one, and a damaged log stays damaged."""
        self.keep(set())

    def _remove(self, partition: int) -> None:
        with self._lock:
            del self._failed[partition]
        self._metrics.failed(partition, -1)
