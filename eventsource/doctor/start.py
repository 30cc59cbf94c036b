"""The check at a worker's start: the rules that are quick to check, and the risks that somebody took on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import structlog

from eventsource.app import App
from eventsource.clock import Clock, SystemClock
from eventsource.doctor.examination import RULES, judge
from eventsource.doctor.facts import Facts
from eventsource.doctor.finding import Finding
from eventsource.doctor.probes import Probes
from eventsource.doctor.rule import Depth, Rule
from eventsource.errors import EventSourceError, ForkDetected, OffsetLost, Retriable, SettingsError
from eventsource.settings import Settings

_log = structlog.get_logger("eventsource.doctor")

START_RULES: Final[tuple[Rule, ...]] = tuple(rule for rule in RULES if rule.depth is Depth.START)
"""The rules that a worker checks before it begins. Their warnings are the doctor's to tell."""


def check_accepted(accepted: Iterable[str]) -> frozenset[str]:
    """The rules whose breach is accepted. Raises `SettingsError` where there is no such rule at a worker's start."""
    names = [rule.id for rule in START_RULES]
    found = frozenset(accepted)
    unknown = sorted(found - set(names))
    if unknown:
        raise SettingsError(
            f"--accept-risk {unknown[0]}: no rule of that name is checked when a worker starts: choose among {', '.join(names)}"
        )
    return found


def check_start(
    app: App,
    settings: Settings,
    *,
    commands_of: Sequence[str] | None = None,
    accepted: Iterable[str] = (),
    clock: Clock | None = None,
) -> None:
    """Raises an error unless a worker may start: what endangers the log, with the mends.

    `commands_of` are the aggregates whose commands the worker handles; None: all of the app. Breaches of the `accepted` rules
    are logged as `risk_accepted` and let pass. Raises `SettingsError` for an unknown rule, `BrokerUnavailable` when no broker
    answers, else the error of the worst finding: `TopicMissing`, `TopicMismatch`, `ClusterMismatch` or `OffsetLost`.
    """
    let_pass = check_accepted(accepted)
    for_owners = commands_of is None or bool(commands_of)
    clock = clock if clock is not None else SystemClock()
    with Probes(app, settings, clock, aggregates=commands_of or None) as probes:
        facts = probes.at_start(for_owners=for_owners, production=None)
    if facts.brokers.error is not None:
        raise facts.brokers.error
    refuse_dangers(facts, let_pass, for_owners=for_owners)


def refuse_dangers(facts: Facts, accepted: frozenset[str], *, for_owners: bool) -> None:
    """The judgement of `check_start` over facts that were gathered."""
    rules = [rule for rule in START_RULES if for_owners or not rule.for_owners]
    refused = []
    for finding in judge(facts, rules).dangers:
        if finding.rule in accepted:
            _log.warning("risk_accepted", rule=finding.rule, finding=finding.problem, mend=finding.mend)
        else:
            refused.append(finding)
    if refused:
        raise _error(refused)


def _error(findings: Sequence[Finding]) -> EventSourceError:
    worst = min(findings, key=_rank).raises
    if len(findings) == 1:
        return worst(f"{findings[0]} (rule {findings[0].rule})")
    lines = "".join(f"\n  {finding.rule}: {finding}" for finding in findings)
    return worst(f"{len(findings)} findings endanger the log; `--accept-risk RULE` starts in spite of one:{lines}")


def _rank(finding: Finding) -> int:
    """The log in danger before what is not as demanded, and that before what may pass."""
    if issubclass(finding.raises, OffsetLost | ForkDetected):
        return 0
    return 2 if issubclass(finding.raises, Retriable) else 1
