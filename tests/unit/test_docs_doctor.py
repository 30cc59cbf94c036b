"""The page about the doctor names every rule, as dangerous as it is, and when it is checked."""

from __future__ import annotations

import re
from pathlib import Path

from eventsource.doctor import RULES, Depth, Rule, Severity

PAGE = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text(encoding="utf-8")


def marks(rule: Rule) -> str:
    severity = "danger in production" if rule.production_only else str(rule.severity)
    if rule.id == "clock-skew":
        severity = f"{Severity.WARNING}; danger from an hour on"
    depth = {Depth.START: ", start", Depth.EXAMINATION: "", Depth.REPLAY: ", replay"}[rule.depth]
    return f"{severity}{depth}{', owners' if rule.for_owners else ''}."


def test_every_rule_has_its_section_in_the_order_of_the_report() -> None:
    assert re.findall(r"^### ([\w-]+)$", PAGE, re.MULTILINE) == [rule.id for rule in RULES]


def test_every_section_says_how_dangerous_its_breach_is_and_when_it_is_checked() -> None:
    for rule in RULES:
        assert f"### {rule.id}\n\n{marks(rule)} " in PAGE
