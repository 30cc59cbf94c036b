"""Metrics and spans: every name in one place. OpenTelemetry's API alone, which does nothing until the host installs an SDK.

Times are in seconds, sizes in the unit of the name. Attributes are few and of few values: aggregate, partition, outcome. Ids of
aggregates are in no attribute: a hot one is named by the log event `hot_aggregate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from opentelemetry import metrics, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

SCOPE: Final = "eventsource"

COMMANDS: Final = "eventsource.owner.commands"
"""Counter: commands handled, by `outcome` (accepted, rejected, …, repeated, loaded)."""
BATCH_COMMANDS: Final = "eventsource.owner.batch.commands"
"""Histogram: commands in one transaction."""
HANDLE_SECONDS: Final = "eventsource.owner.handle.duration"
"""Histogram, seconds: deciding a batch, until all its records are with the producer."""
COMMIT_SECONDS: Final = "eventsource.owner.commit.duration"
"""Histogram, seconds: from there to the end of the commit."""
ABORTS: Final = "eventsource.owner.aborts"
"""Counter: returns to the last committed state, by `reason` (an error's class)."""
FENCES: Final = "eventsource.owner.fences"
"""Counter: take-overs that shut an earlier owner out, first ones and renewals."""
RENEWALS: Final = "eventsource.owner.renewals"
"""Counter: producers replaced because their coordinator gave signs of trouble."""
REPLAYED_EVENTS: Final = "eventsource.owner.replayed.events"
"""Counter: events read back from the log; its rate is the replay's progress."""
TAKEOVER_SECONDS: Final = "eventsource.owner.takeover.duration"
"""Histogram, seconds: from the fence to the first command that may be handled."""
STORE_LOOKUPS: Final = "eventsource.owner.store.lookups"
"""Counter: keys asked of the state store, by `result` (hit, miss)."""
CHECKPOINT_SECONDS: Final = "eventsource.owner.store.checkpoint.duration"
"""Histogram, seconds: bringing the state store to what memory holds."""
HOTTEST_SHARE: Final = "eventsource.owner.hottest.share"
"""Histogram, 0 to 1: the share of a batch that went to one aggregate."""
PARTITION_FAILURES: Final = "eventsource.owner.failures"
"""Counter: errors that stopped a partition while the others went on, by `reason` (an error's class)."""
PARTITIONS_FAILED: Final = "eventsource.owner.failed"
"""Up-down counter: 1 while a partition is stopped by an error, else 0."""
RUNNER_FAILURES: Final = "eventsource.runner.failures"
"""Counter: errors that stopped a runner (`commands/account`, `projection/balances`) and do not pass, by `reason`."""
RUNNERS_FAILED: Final = "eventsource.runner.failed"
"""Up-down counter: 1 from such an error until the runner works again, else 0, by `runner`."""
REPLIES_DROPPED: Final = "eventsource.replies.dropped"
"""Counter: replies that could not be delivered, by `reason` (librdkafka's name of the error)."""
SEND_SECONDS: Final = "eventsource.client.send.duration"
"""Histogram, seconds: from sending a command to its answer, by `outcome`."""

_PROPAGATOR: Final = TraceContextTextMapPropagator()
_HEADER: Final = "traceparent"


class OwnerMetrics:
    """What the owner of one partition counts and measures."""

    def __init__(self, aggregate: str, partition: int) -> None:
        meter = metrics.get_meter(SCOPE)
        self._attributes: dict[str, str | int] = {"aggregate": aggregate, "partition": partition}
        self._commands = meter.create_counter(COMMANDS, "{command}")
        self._batch = meter.create_histogram(BATCH_COMMANDS, "{command}")
        self._handle = meter.create_histogram(HANDLE_SECONDS, "s")
        self._commit = meter.create_histogram(COMMIT_SECONDS, "s")
        self._aborts = meter.create_counter(ABORTS, "{abort}")
        self._fences = meter.create_counter(FENCES, "{fence}")
        self._renewals = meter.create_counter(RENEWALS, "{renewal}")
        self._replayed = meter.create_counter(REPLAYED_EVENTS, "{event}")
        self._takeover = meter.create_histogram(TAKEOVER_SECONDS, "s")
        self._lookups = meter.create_counter(STORE_LOOKUPS, "{key}")
        self._checkpoint = meter.create_histogram(CHECKPOINT_SECONDS, "s")
        self._hottest = meter.create_histogram(HOTTEST_SHARE, "1")

    def committed(
        self, outcomes: Mapping[str, int], commands: int, hottest: int, handle_seconds: float, commit_seconds: float
    ) -> None:
        """A batch is in the log; `hottest` is how many of its commands went to one aggregate."""
        attributes = self._attributes
        for outcome, count in outcomes.items():
            self._commands.add(count, {**attributes, "outcome": outcome})
        self._batch.record(commands, attributes)
        self._handle.record(handle_seconds, attributes)
        self._commit.record(commit_seconds, attributes)
        self._hottest.record(hottest / commands, attributes)

    def returned(self, error: Exception) -> None:
        """Memory goes back to the last committed state."""
        self._aborts.add(1, {**self._attributes, "reason": type(error).__name__})

    def fenced(self) -> None:
        """Both transactional ids are ours."""
        self._fences.add(1, self._attributes)

    def renewed(self) -> None:
        """Producers are replaced because of a suspicion."""
        self._renewals.add(1, self._attributes)

    def replayed(self, events: int) -> None:
        """Events were read back."""
        self._replayed.add(events, self._attributes)

    def taken_over(self, seconds: float) -> None:
        """The partition is handled from now on."""
        self._takeover.record(seconds, self._attributes)

    def looked_up(self, hits: int, misses: int) -> None:
        """The state store was asked for keys that memory did not hold."""
        self._lookups.add(hits, {**self._attributes, "result": "hit"})
        self._lookups.add(misses, {**self._attributes, "result": "miss"})

    def checkpointed(self, seconds: float) -> None:
        """The state store was brought to what memory holds."""
        self._checkpoint.record(seconds, self._attributes)


class RunnerMetrics:
    """Whether a runner of a worker is failed."""

    def __init__(self, runner: str) -> None:
        meter = metrics.get_meter(SCOPE)
        self._attributes = {"runner": runner}
        self._failures = meter.create_counter(RUNNER_FAILURES, "{failure}")
        self._failed = meter.create_up_down_counter(RUNNERS_FAILED, "{runner}")

    def failure(self, error: BaseException) -> None:
        """It failed, perhaps not for the first time."""
        self._failures.add(1, {**self._attributes, "reason": type(error).__name__})

    def failed(self, change: int) -> None:
        """It is failed from now on (1), or no longer (-1)."""
        self._failed.add(change, self._attributes)


class PartitionFailureMetrics:
    """Which partitions of an aggregate are stopped by an error."""

    def __init__(self, aggregate: str) -> None:
        meter = metrics.get_meter(SCOPE)
        self._aggregate = aggregate
        self._failures = meter.create_counter(PARTITION_FAILURES, "{failure}")
        self._failed = meter.create_up_down_counter(PARTITIONS_FAILED, "{partition}")

    def failure(self, partition: int, error: BaseException) -> None:
        """A partition failed, perhaps not for the first time."""
        self._failures.add(1, {"aggregate": self._aggregate, "partition": partition, "reason": type(error).__name__})

    def failed(self, partition: int, change: int) -> None:
        """A partition is failed from now on (1), or no longer (-1)."""
        self._failed.add(change, {"aggregate": self._aggregate, "partition": partition})


class ReplyMetrics:
    """What the sender of replies counts."""

    def __init__(self) -> None:
        self._dropped = metrics.get_meter(SCOPE).create_counter(REPLIES_DROPPED, "{reply}")

    def dropped(self, reason: str, replies: int) -> None:
        """Clients do not get these answers."""
        self._dropped.add(replies, {"reason": reason})


class ClientTelemetry:
    """What a client measures, and the spans around its commands."""

    def __init__(self) -> None:
        self._tracer = trace.get_tracer(SCOPE)
        self._send = metrics.get_meter(SCOPE).create_histogram(SEND_SECONDS, "s")

    def sending(self, aggregate: str, command: str, command_id: str) -> tuple[Span, bytes | None]:
        """The span of a command on its way, to be given to `answered`, and the `traceparent` that travels with it: None unless sampled."""
        span = self._tracer.start_span(
            f"send {command}",
            kind=SpanKind.CLIENT,
            attributes={
                "messaging.system": "kafka",
                "messaging.operation.name": "send",
                "eventsource.aggregate": aggregate,
                "eventsource.command_id": command_id,
            },
        )
        return span, trace_parent(span)

    def answered(self, span: Span, aggregate: str, outcome: str, seconds: float, failed: bool) -> None:
        """The answer came, or will not come."""
        span.set_attribute("eventsource.outcome", outcome)
        if failed:
            span.set_status(Status(StatusCode.ERROR, outcome))
        span.end()
        self._send.record(seconds, {"aggregate": aggregate, "outcome": outcome})


def trace_parent(span: Span) -> bytes | None:
    """The W3C `traceparent` of a span, or None where it is not sampled: a header costs time in every record."""
    if not span.get_span_context().trace_flags.sampled:
        return None
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, trace.set_span_in_context(span))
    found = carrier.get(_HEADER)
    return found.encode() if found is not None else None


def handling_span(aggregate: str, command: str, command_id: str, traceparent: bytes, trail: Mapping[str, str]) -> Span:
    """The span of a command at its owner, as the child of the client's. To be ended once its batch is committed.

    `trail` holds causation and correlation ids.
    """
    parent = _PROPAGATOR.extract({_HEADER: traceparent.decode(errors="replace")})
    return trace.get_tracer(SCOPE).start_span(
        f"handle {command}",
        context=parent,
        kind=SpanKind.CONSUMER,
        attributes={
            "messaging.system": "kafka",
            "messaging.operation.name": "process",
            "eventsource.aggregate": aggregate,
            "eventsource.command_id": command_id,
            **{f"eventsource.{name}": value for name, value in trail.items() if value},
        },
    )
