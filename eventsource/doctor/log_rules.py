"""Rules about what is in the log: open transactions, clocks, and the histories of the aggregates."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Final

from eventsource.doctor.facts import Decision, Facts, Hanging
from eventsource.doctor.finding import Problem, Severity
from eventsource.doctor.rule import Depth, Rule
from eventsource.errors import ClusterMismatch, DefinitionError, ForkDetected, TopicMismatch
from eventsource.log.transaction_state import OFFSETS_TOPIC

UNREADABLE_HISTORY: Final = "unreadable-history"
CLOCK_WARNING_MS: Final = 60_000
CLOCK_DANGER_MS: Final = 3_600_000
_NAMED: Final = 3
_END: Final = (
    "`eventsource doctor --end-transactions` where the brokers take plain text, which ends it as it was decided"
)


def _hanging(facts: Facts) -> Iterator[Problem]:
    for found in facts.hanging.get():
        topic, number = found.where
        place = f"{topic}[{number}]"
        yield Problem(
            place,
            f"{place} has a transaction that has been open for more than {facts.open_limit_seconds:g} s{_whose(found)}: nobody reads "
            f"past offset {found.offset}, and no owner can take the partition over{_decided(found)}",
            _end(facts, found),
        )


def _whose(found: Hanging) -> str:
    age = f", {found.age_seconds:.0f} s by now" if found.age_seconds is not None else ""
    if found.transactional_id is None:
        return age
    return f"{age} (transactional id {found.transactional_id}, producer id {found.producer_id}, epoch {found.producer_epoch})"


def _decided(found: Hanging) -> str:
    if found.decision is Decision.COMMIT:
        return (
            "; it was decided as a commit, so its commands were answered OK, and its "
            + ("markers were never written" if found.completed else "markers are not written yet")
            + " (KAFKA-20734)"
        )
    if found.decision is Decision.ABORT:
        return "; it was decided as an abort, so that nothing of it was answered OK"
    if found.decision is Decision.NONE:
        return "; nothing was decided about it, so that nothing of it was answered OK"
    return f"; what was decided about it is not known ({found.unknown_because})"


def _end(facts: Facts, found: Hanging) -> str:
    topic, number = found.where
    command = (
        f"`kafka-transactions.sh --bootstrap-server {facts.bootstrap} abort --topic {topic} --partition {number} "
        f"--start-offset {found.offset}`"
    )
    if found.decision is Decision.NONE:
        return f"start a worker, which ends it; if it stays, {command}"
    ours = f"{_END}, or " if found.completed else ""
    if found.decision is Decision.ABORT:
        return f"{ours}{command} writes the marker that is missing"
    if topic == OFFSETS_TOPIC:
        return f"{ours}{command}; owners find out from events and outcomes which commands were handled"
    copy = (
        f"{ours}copy its records first (a reader of uncommitted records sees them from offset {found.offset} on), since aborting it loses "
        f"them; then {command}, and give the events back with `client.append`: see docs/doctor.md"
    )
    return copy if found.decision is Decision.COMMIT else f"if docs/doctor.md shows that it was a commit, {copy}"


def _unseen(facts: Facts) -> Iterator[Problem]:
    for history in facts.histories.get():
        if not history.unseen:
            continue
        named = ", ".join(f"{command_id} (offset {offset})" for command_id, offset in history.unseen[:_NAMED])
        more = f" and {len(history.unseen) - _NAMED} more" if len(history.unseen) > _NAMED else ""
        yield Problem(
            f"{history.aggregate}[{history.partition}]",
            f"{len(history.unseen)} commands of {history.aggregate}[{history.partition}] were answered OK, and no reader of committed "
            f"records sees the events that the answers name: {named}{more}; their transaction was decided as a commit and ended as an "
            "abort (KAFKA-20734, and `kafka-transactions.sh abort` or a later abort of the same producer), or the disk lost them",
            "read these offsets with a reader of uncommitted records, and give the events back with `client.append`: see docs/doctor.md",
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
                "find out who wrote it and take that right away (only owners may write there); the aggregate under its key is "
                "stopped, and all of the partition where no key can be read",
            )


def _misrouted(facts: Facts) -> Iterator[Problem]:
    for history in facts.histories.get():
        for place, reason in history.misrouted:
            yield Problem(
                place,
                f"{place}: {reason}",
                "find out who wrote it and take that right away: only owners may write there, in the partition that murmur2 gives",
            )


def _quoted(aggregate_id: str) -> str:
    """An id as a shell takes it, and as no option."""
    quoted = shlex.quote(aggregate_id)
    return f"-- {quoted}" if aggregate_id.startswith("-") else quoted


def _stopped(facts: Facts) -> Iterator[Problem]:
    for history in facts.histories.get():
        for aggregate_id, reason in history.stopped.items():
            yield Problem(
                f"{history.aggregate} {aggregate_id}",
                reason,
                f"look at it with `eventsource events show MODULE:APP {history.aggregate} {_quoted(aggregate_id)}`, which shows "
                "what can be read and the rest as it is, and fix the code that cannot read or "
                "apply it; a log that has a gap or a repeat has had a second writer",
            )


def _unreadable(facts: Facts) -> Iterator[Problem]:
    for each in facts.unreadable.get():
        yield Problem(
            f"{each.aggregate} {each.event}",
            str(each),
            "every aggregate with such an event would be stopped. Where no event was written so, start with "
            f"`--accept-risk {UNREADABLE_HISTORY}`",
            Severity.WARNING if each.missing else None,
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
        "answered-unseen",
        Severity.DANGER,
        "what was answered OK is there for readers of committed records",
        ForkDetected,
        _unseen,
        Depth.REPLAY,
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
        UNREADABLE_HISTORY,
        Severity.DANGER,
        "today's event classes can read every schema that events were written with",
        DefinitionError,
        _unreadable,
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
