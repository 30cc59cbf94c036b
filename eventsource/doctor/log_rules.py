"""Rules about what is in the log: open transactions, clocks, and the histories of the aggregates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from eventsource.doctor.facts import Facts
from eventsource.doctor.finding import Problem, Severity
from eventsource.doctor.rule import Depth, Rule
from eventsource.errors import ClusterMismatch, ForkDetected, TopicMismatch

CLOCK_WARNING_MS: Final = 60_000
CLOCK_DANGER_MS: Final = 3_600_000


def _hanging(facts: Facts) -> Iterator[Problem]:
    for topic, number in facts.hanging.get():
        place = f"{topic}[{number}]"
        yield Problem(
            place,
            f"{place} has a transaction that has been open for more than {facts.open_limit_seconds:g} s: nobody reads past it, and no "
            "owner can take the partition over",
            f"start a worker, which ends it if its coordinator knows it; if it stays, `kafka-transactions --bootstrap-server "
            f"{facts.bootstrap} find-hanging --topic {topic} --partition {number}`, and before `kafka-transactions … abort` see in "
            "docs/doctor.md how to tell whether it was committed",
        )


def _clock(facts: Facts) -> Iterator[Problem]:
    reading = facts.clock.get()
    ahead_ms = reading.ahead_ms if reading is not None else 0
    if abs(ahead_ms) < CLOCK_WARNING_MS:
        return
    yield Problem(
        "clock",
        f"this machine's clock is {abs(ahead_ms) / 1_000:.0f} s {'ahead of' if ahead_ms > 0 else 'behind'} the brokers': commands sent "
        "from here bear a wrong time, by which repetitions are told from commands that are too old",
        "set it by NTP, here and on the brokers",
        Severity.DANGER if abs(ahead_ms) >= CLOCK_DANGER_MS else None,
    )


def _foreign(facts: Facts) -> Iterator[Problem]:
    for history in facts.histories.get():
        for place, reason in history.foreign:
            yield Problem(
                place,
                f"{place} is not the framework's ({reason})",
                "find out who wrote it and take that right away (only owners may write there); no owner can take the partition over",
            )


def _misrouted(facts: Facts) -> Iterator[Problem]:
    for history in facts.histories.get():
        for place, reason in history.misrouted:
            yield Problem(
                place,
                f"{place}: {reason}",
                "find out who wrote it and take that right away: only owners may write there, in the partition that murmur2 gives",
            )


def _stopped(facts: Facts) -> Iterator[Problem]:
    for history in facts.histories.get():
        for aggregate_id, reason in history.stopped.items():
            yield Problem(
                f"{history.aggregate} {aggregate_id}",
                reason,
                f"look at it with `eventsource events show {history.aggregate} {aggregate_id}`, and mend the code that cannot read or "
                "apply it; a log that has a gap or a repeat has had a second writer",
            )


def _foreign_entries(facts: Facts) -> Iterator[Problem]:
    for topic, foreign in facts.foreign.get().items():
        if foreign.count:
            (place, reason), more = foreign.named[0], foreign.count - 1
            others = f", and so are {more:,} others" if more else ""
            yield Problem(
                topic,
                f"{place} is not the framework's ({reason}){others}: it was skipped, and what was recorded before it counts",
                "find out who wrote it and take that right away; where compaction has left nothing but it under the name of a topic, "
                "`eventsource topics apply MODULE:APP` records that topic again",
            )


LOG_RULES: Final = (
    Rule(
        "hanging-transaction",
        Severity.DANGER,
        "no transaction stays open for longer than its time-out",
        ClusterMismatch,
        _hanging,
        Depth.EXAMINATION,
    ),
    Rule(
        "clock-skew",
        Severity.WARNING,
        "this machine's clock agrees with the brokers' within a minute",
        ClusterMismatch,
        _clock,
        Depth.EXAMINATION,
    ),
    Rule(
        "foreign-entry",
        Severity.WARNING,
        "all records in the meta and the schemas topic are the framework's",
        TopicMismatch,
        _foreign_entries,
        Depth.EXAMINATION,
    ),
    Rule(
        "foreign-record",
        Severity.DANGER,
        "all events and outcomes are the framework's",
        ForkDetected,
        _foreign,
        Depth.REPLAY,
    ),
    Rule(
        "misrouted-event",
        Severity.DANGER,
        "every event is in the partition that its aggregate belongs to",
        ForkDetected,
        _misrouted,
        Depth.REPLAY,
    ),
    Rule(
        "stopped-aggregate",
        Severity.DANGER,
        "every aggregate's history is whole, can be read and applied",
        ForkDetected,
        _stopped,
        Depth.REPLAY,
    ),
)
