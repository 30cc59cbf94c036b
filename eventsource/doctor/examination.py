"""The doctor: gathers the facts, judges them by every rule, and says what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from eventsource.app import App
from eventsource.clock import Clock, SystemClock
from eventsource.doctor.answer import ask
from eventsource.doctor.cluster_rules import CLUSTER_RULES
from eventsource.doctor.facts import Facts, PartitionHistory
from eventsource.doctor.finding import Finding, Severity
from eventsource.doctor.history import replay_partitions
from eventsource.doctor.log_rules import LOG_RULES
from eventsource.doctor.offset_rules import OFFSET_RULES
from eventsource.doctor.probes import Probes, whole
from eventsource.doctor.rule import Depth, Rule
from eventsource.doctor.topic_rules import TOPIC_RULES
from eventsource.settings import Settings

RULES: Final[tuple[Rule, ...]] = (*CLUSTER_RULES, *TOPIC_RULES, *OFFSET_RULES, *LOG_RULES)
"""Every rule, in the order in which they are reported."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What an examination found. `findings` are by the rules that were checked; those of `skipped` were not."""

    facts: Facts
    findings: dict[Rule, list[Finding]]
    skipped: tuple[Rule, ...] = ()

    @property
    def dangers(self) -> list[Finding]:
        """The findings that endanger data."""
        return [each for found in self.findings.values() for each in found if each.severity is Severity.DANGER]

    @property
    def warnings(self) -> list[Finding]:
        """The other findings."""
        return [each for found in self.findings.values() for each in found if each.severity is Severity.WARNING]


def examine(
    app: App,
    settings: Settings,
    *,
    replay: bool = True,
    production: bool | None = None,
    clock: Clock | None = None,
    on_history: Callable[[PartitionHistory], None] = lambda _: None,
) -> Diagnosis:
    """Checks everything, or with `replay=False` all but the histories of the aggregates.

    `production` says what the cluster is judged by; None: the setting, else the number of brokers. `on_history` is told of each
    partition that was replayed. Raises no `LogError`: what the brokers do not answer is a finding.
    """
    with Probes(app, settings, clock if clock is not None else SystemClock()) as probes:
        return _examine(probes, app, settings, replay, production, on_history)


def _examine(
    probes: Probes,
    app: App,
    settings: Settings,
    replay: bool,
    production: bool | None,
    on_history: Callable[[PartitionHistory], None],
) -> Diagnosis:
    facts = probes.at_start(for_owners=True, production=production)
    if facts.brokers.error is not None:
        # Nothing else was asked, and nothing else would be answered.
        reachable = [rule for rule in RULES if rule.id == "brokers-reachable"]
        return judge(facts, reachable, skipped=[rule for rule in RULES if rule not in reachable])
    histories = (
        ask(lambda: replay_partitions(app, settings, whole(facts.owned, facts.topics.get()), on_history))
        if replay
        else None
    )
    facts = probes.of_the_log(facts, histories)
    return judge(
        facts,
        [rule for rule in RULES if replay or rule.depth < Depth.REPLAY],
        skipped=[rule for rule in RULES if not replay and rule.depth is Depth.REPLAY],
    )


def judge(facts: Facts, rules: Iterable[Rule], *, skipped: Iterable[Rule] = ()) -> Diagnosis:
    """Judges the facts by these rules. Pure."""
    return Diagnosis(facts, {rule: rule.findings(facts) for rule in rules}, tuple(skipped))
