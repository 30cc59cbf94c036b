"""Rules about offsets: what the log still holds, and what the owners' groups committed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from eventsource.doctor.facts import Facts, Owned
from eventsource.doctor.finding import Problem, Severity
from eventsource.doctor.rule import Depth, Rule
from eventsource.errors import OffsetLost
from eventsource.log.admin import TopicAndPartition
from eventsource.settings import MAX_TRANSACTION_COMMANDS


def _place(where: TopicAndPartition) -> str:
    return f"{where[0]}[{where[1]}]"


def _reset(facts: Facts, owned: Owned, where: TopicAndPartition, offset: int) -> str:
    return (
        f"with all workers stopped, `kafka-consumer-groups --bootstrap-server {facts.bootstrap} --group {owned.group} --reset-offsets "
        f"--topic {where[0]}:{where[1]} --to-offset {offset} --execute`"
    )


def _events_deleted(facts: Facts) -> Iterator[Problem]:
    firsts = facts.firsts.get()
    for owned in facts.owned:
        for where in owned.fact_partitions():
            if firsts.get(where, 0) > 0:
                yield Problem(
                    _place(where),
                    f"{_place(where)} begins at offset {firsts[where]}: records were deleted that aggregates and the answers to commands "
                    "are made of",
                    "restore the topic from a backup, and find out who deleted them (retention, kafka-delete-records)",
                )


def _commands_deleted(facts: Facts) -> Iterator[Problem]:
    firsts, committed = facts.firsts.get(), facts.committed.get()
    for owned in facts.owned:
        for where in owned.command_partitions():
            if where not in firsts:
                continue
            handled = committed.get(where) or 0
            if firsts[where] > handled:
                yield Problem(
                    _place(where),
                    f"{_place(where)} begins at offset {firsts[where]}, and commands are handled up to {handled}: "
                    f"{firsts[where] - handled} offsets were deleted before anybody handled them",
                    f"find out which commands are lost and send them again; then let the owners go on behind them: "
                    f"{_reset(facts, owned, where, firsts[where])}",
                )


def _missing(facts: Facts) -> Iterator[Problem]:
    origins, committed = facts.last_origins.get(), facts.committed.get()
    for owned in facts.owned:
        for where in owned.command_partitions():
            last = origins.get(where, -1)
            if last >= 0 and committed.get(where) is None:
                yield Problem(
                    _place(where),
                    f"group {owned.group} has no committed offset for {_place(where)}, yet commands up to offset {last} were handled: "
                    "whoever begins anew executes them again",
                    _reset(facts, owned, where, last + 1),
                )


def _behind(facts: Facts) -> Iterator[Problem]:
    origins, all_committed = facts.last_origins.get(), facts.committed.get()
    for owned in facts.owned:
        for where in owned.command_partitions():
            last, committed = origins.get(where, -1), all_committed.get(where)
            if committed is not None and committed + MAX_TRANSACTION_COMMANDS <= last:
                yield Problem(
                    _place(where),
                    f"group {owned.group} committed offset {committed} of {_place(where)}, which lies below {last}, the newest command "
                    f"that was handled, by more than the {MAX_TRANSACTION_COMMANDS} that deduplication heals",
                    _reset(facts, owned, where, last + 1),
                )


def _past_end(facts: Facts) -> Iterator[Problem]:
    ends, all_committed = facts.ends.get(), facts.committed.get()
    for owned in facts.owned:
        for where in owned.command_partitions():
            committed = all_committed.get(where)
            if where in ends and committed is not None and committed > ends[where]:
                yield Problem(
                    _place(where),
                    f"group {owned.group} committed offset {committed} of {_place(where)}, which ends at {ends[where]}: commands were "
                    "lost, or somebody set the offset",
                    "find out which before going on; if the commands that are there now are to be handled, "
                    f"{_reset(facts, owned, where, ends[where])}",
                )


def _strays(facts: Facts) -> Iterator[Problem]:
    for group, partitions in facts.strays.get().items():
        topics = sorted({topic for topic, _ in partitions})
        yield Problem(
            group,
            f"group {group} has committed offsets for {', '.join(topics)}, of which its owners know nothing: somebody else is or was a "
            "member of their group, and can take partitions from them",
            f"give that consumer a group of its own, then `kafka-consumer-groups --bootstrap-server {facts.bootstrap} --group {group} "
            f"--delete-offsets {' '.join(f'--topic {topic}' for topic in topics)}`",
        )


OFFSET_RULES: Final = (
    Rule("events-deleted", Severity.DANGER, "events and outcomes begin at offset 0", OffsetLost, _events_deleted),
    Rule(
        "commands-deleted",
        Severity.DANGER,
        "no command was deleted before it was handled",
        OffsetLost,
        _commands_deleted,
        for_owners=True,
    ),
    Rule(
        "committed-offset-past-end",
        Severity.DANGER,
        "no committed offset lies past the end of its commands",
        OffsetLost,
        _past_end,
        for_owners=True,
    ),
    Rule(
        "committed-offset-missing",
        Severity.DANGER,
        "there is a committed offset wherever commands were handled",
        OffsetLost,
        _missing,
        Depth.EXAMINATION,
        for_owners=True,
    ),
    Rule(
        "committed-offset-behind",
        Severity.DANGER,
        "no committed offset lies further behind the log than deduplication heals",
        OffsetLost,
        _behind,
        Depth.EXAMINATION,
        for_owners=True,
    ),
    Rule(
        "stray-offsets",
        Severity.WARNING,
        "nobody else is a member of the owners' groups",
        OffsetLost,
        _strays,
        Depth.EXAMINATION,
        for_owners=True,
    ),
)
