"""Rules about the app's topics: that they are there, what they are, and how they are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from eventsource.doctor.facts import Facts
from eventsource.doctor.finding import Problem, Severity
from eventsource.doctor.rule import Rule
from eventsource.errors import TopicMismatch, TopicMissing
from eventsource.log.topics import (
    TopicProblem,
    TopicProblemKind,
    TopicSpec,
    TopicState,
    alter_topic_command,
    topic_problems,
)

_HOUR_MS: Final = 3_600_000
_APPLY: Final = "`eventsource topics apply MODULE:APP`"
_RETENTION: Final = frozenset({"retention.ms", "retention.bytes"})
_UNCLEAN: Final = "unclean.leader.election.enable"
_BATCH_OVERHEAD_BYTES: Final = 1_000
_CLIENT_BATCH_BYTES: Final = 1_000_000  # librdkafka's defaults of batch.size and message.max.bytes


def _there(facts: Facts) -> Iterator[tuple[TopicSpec, TopicState]]:
    states = facts.topics.get()
    return ((spec, states[spec.name]) for spec in facts.specs if spec.name in states)


def _missing(facts: Facts) -> Iterator[Problem]:
    states, recorded = facts.topics.get(), facts.recorded.get()
    names = [spec.name for spec in facts.specs if spec.name not in states and spec.name not in recorded]
    if names:
        yield Problem(names[0], f"topics are missing: {', '.join(names)}", f"make them with {_APPLY}")


def _unrecorded(facts: Facts) -> Iterator[Problem]:
    recorded = facts.recorded.get()
    names = [spec.name for spec, _ in _there(facts) if spec.name not in recorded]
    if names:
        yield Problem(
            names[0],
            f"topics were made elsewhere and are not recorded yet: {', '.join(names)}",
            f"record them with {_APPLY}",
        )


def _of_kind(kind: TopicProblemKind) -> Callable[[Facts], Iterator[Problem]]:
    """One problem for all topics that share it: their mend is the same."""

    def find(facts: Facts) -> Iterator[Problem]:
        states, recorded = facts.topics.get(), facts.recorded.get()
        named: dict[TopicProblem, list[str]] = {}
        for spec in facts.specs:
            for found in topic_problems(spec, states.get(spec.name), recorded.get(spec.name), facts.bootstrap):
                if found.kind == kind:
                    named.setdefault(found, []).append(spec.name)
        for found, names in named.items():
            each = names[0] if len(names) == 1 else f"each of {', '.join(names)}"
            yield Problem(", ".join(names), f"{each} {found.problem}", found.mend)

    return find


def _of_settings(demands: Callable[[str, str], bool]) -> Callable[[Facts], Iterator[Problem]]:
    """The demanded settings, chosen by name and wanted value, that a topic does not have."""

    def find(facts: Facts) -> Iterator[Problem]:
        for spec, state in _there(facts):
            for found in topic_problems(spec, state, None, facts.bootstrap):
                if found.setting and demands(found.setting, spec.demanded[found.setting]):
                    yield Problem(spec.name, f"{spec.name} {found.problem}", found.mend)

    return find


def _other(setting: str, _wanted: str) -> bool:
    return setting not in _RETENTION and setting not in ("cleanup.policy", "message.timestamp.type", _UNCLEAN)


def _unclean(facts: Facts) -> Iterator[Problem]:
    yield from _of_settings(lambda setting, _: setting == _UNCLEAN)(facts)
    for spec, state in _there(facts):
        # The topics that may lose records are those that demand nothing: replies.
        if spec.demanded and _UNCLEAN not in spec.demanded and state.config.get(_UNCLEAN) != "false":
            yield Problem(
                spec.name,
                f"{spec.name} has {_UNCLEAN}={state.config.get(_UNCLEAN)}, so that a replica which lacks acknowledged records may "
                "become its leader",
                f"mend it with `{alter_topic_command(facts.bootstrap, spec.name, _UNCLEAN, 'false')}`",
            )


def _commands_retention(facts: Facts) -> Iterator[Problem]:
    states = facts.topics.get()
    for owned in facts.owned:
        state = states.get(owned.commands)
        if state is None:
            continue
        # Where ids are remembered forever, the default window still says how long senders go on trying.
        needed_ms = owned.window_ms or int(facts.settings.worker.deduplication_window_hours * _HOUR_MS)
        kept_ms, kept_bytes = int(state.config.get("retention.ms", "-1")), state.config.get("retention.bytes", "-1")
        if 0 <= kept_ms < needed_ms:
            yield Problem(
                owned.commands,
                f"{owned.commands} keeps commands for {kept_ms / _HOUR_MS:g} h, less than the deduplication window of "
                f"{needed_ms / _HOUR_MS:g} h: workers that are down for longer lose commands which their senders still wait for",
                f"mend it with `{alter_topic_command(facts.bootstrap, owned.commands, 'retention.ms', str(needed_ms))}`, or make "
                "EVENTSOURCE_WORKER__DEDUPLICATION_WINDOW_HOURS shorter",
            )
        if kept_bytes != "-1":
            yield Problem(
                owned.commands,
                f"{owned.commands} has retention.bytes={kept_bytes}: a burst of commands may be deleted before it is handled",
                f"mend it with `{alter_topic_command(facts.bootstrap, owned.commands, 'retention.bytes', '-1')}`",
            )


def _message_size(facts: Facts) -> Iterator[Problem]:
    event, client = facts.settings.worker.max_event_bytes, facts.settings.kafka.client
    sent = min(int(client.get(name, _CLIENT_BATCH_BYTES)) for name in ("batch.size", "message.max.bytes"))
    wanted = max(event + _BATCH_OVERHEAD_BYTES, sent)
    for spec, state in _there(facts):
        taken = int(state.config.get("max.message.bytes", wanted))
        if "retention.ms" in spec.demanded and taken < wanted:
            yield Problem(
                spec.name,
                f"{spec.name} takes batches of {taken} bytes (max.message.bytes), but events may have {event} bytes "
                f"(EVENTSOURCE_WORKER__MAX_EVENT_BYTES) and producers send batches of up to {sent}: larger ones abort their transaction",
                f"mend it with `{alter_topic_command(facts.bootstrap, spec.name, 'max.message.bytes', str(wanted))}`",
            )
    largest = int(client.get("message.max.bytes", _CLIENT_BATCH_BYTES))
    if largest < event + _BATCH_OVERHEAD_BYTES:
        yield Problem(
            "message.max.bytes",
            f"producers send at most {largest} bytes (message.max.bytes), but events may have {event} bytes "
            "(EVENTSOURCE_WORKER__MAX_EVENT_BYTES): larger ones abort their transaction",
            f"set EVENTSOURCE_KAFKA__CLIENT__MESSAGE_MAX_BYTES={event + _BATCH_OVERHEAD_BYTES}, or "
            f"EVENTSOURCE_WORKER__MAX_EVENT_BYTES={largest - _BATCH_OVERHEAD_BYTES}",
        )


TOPIC_RULES: Final = (
    Rule("topics-missing", Severity.DANGER, "all topics of the app are there", TopicMissing, _missing),
    Rule("topics-unrecorded", Severity.DANGER, "all topics are recorded in the meta topic", TopicMissing, _unrecorded),
    Rule("topic-gone", Severity.DANGER, "no topic that was recorded is gone", TopicMismatch, _of_kind("gone")),
    Rule(
        "partition-count",
        Severity.DANGER,
        "partitions are as many as the app wants and as were recorded",
        TopicMismatch,
        _of_kind("partitions"),
    ),
    Rule(
        "topic-recreated",
        Severity.DANGER,
        "no topic was deleted and made anew since it was recorded",
        TopicMismatch,
        _of_kind("recreated"),
    ),
    Rule(
        "events-retention",
        Severity.DANGER,
        "events and outcomes are kept forever",
        TopicMismatch,
        _of_settings(lambda setting, _: setting in _RETENTION),
    ),
    Rule(
        "cleanup-policy",
        Severity.DANGER,
        "no topic with commands, events or outcomes is compacted",
        TopicMismatch,
        _of_settings(lambda setting, wanted: setting == "cleanup.policy" and wanted == "delete"),
    ),
    Rule(
        "meta-compaction",
        Severity.DANGER,
        "the meta and schemas topics are compacted, and nothing of them is deleted by age",
        TopicMismatch,
        _of_settings(lambda setting, wanted: setting == "cleanup.policy" and wanted == "compact"),
    ),
    Rule(
        "timestamp-type",
        Severity.DANGER,
        "records bear the broker's time (LogAppendTime)",
        TopicMismatch,
        _of_settings(lambda setting, _: setting == "message.timestamp.type"),
    ),
    Rule(
        "unclean-election",
        Severity.DANGER,
        "no replica that lacks acknowledged records may become the leader of a topic",
        TopicMismatch,
        _unclean,
    ),
    Rule(
        "topic-setting",
        Severity.DANGER,
        "topics have every other setting that the framework demands of them",
        TopicMismatch,
        _of_settings(_other),
    ),
    Rule(
        "commands-retention",
        Severity.WARNING,
        "commands are kept for as long as their senders may wait",
        TopicMismatch,
        _commands_retention,
        for_owners=True,
    ),
    Rule(
        "message-size",
        Severity.WARNING,
        "topics take the largest event that workers may write",
        TopicMismatch,
        _message_size,
        for_owners=True,
    ),
)
