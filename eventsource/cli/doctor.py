"""`eventsource doctor`: what is wrong with an app's log, and how to mend it."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eventsource.cli.exit_codes import DANGER, OK, UNAVAILABLE, exit_code_of_kind
from eventsource.cli.options import Json, Reference, find_app
from eventsource.cli.output import counted, note, print_json, print_table, printable
from eventsource.settings import load_settings

if TYPE_CHECKING:
    from eventsource.app import App
    from eventsource.doctor import Diagnosis, Finding, PartitionHistory, Rule


def register(root: typer.Typer) -> None:
    """Adds the command."""
    root.command("doctor")(doctor)


def doctor(
    reference: Reference = None,
    json: Json = False,
    replay: Annotated[
        bool,
        typer.Option("--replay/--no-replay", help="Read every event as its next owner would, or leave that out."),
    ] = True,
    end_transactions: Annotated[
        bool,
        typer.Option(
            "--end-transactions",
            help="First write the markers that Kafka lost, as its coordinator decided (rule hanging-transaction).",
        ),
    ] = False,
    production: Annotated[
        bool | None,
        typer.Option(
            "--production/--development",
            help="What the brokers are judged by; else EVENTSOURCE_ENVIRONMENT, else whether there is more than one.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Check an app's topics, brokers, offsets and events, and say how to mend what is wrong.

    Changes nothing without --end-transactions: a record without a value in the replies topic, which nobody reads, tells the
    brokers' time. Exits with 0 when nothing endangers the log, with 5 when the log or its offsets are damaged, with 4 when cluster
    or topics are not as demanded, with 3 when the brokers do not answer.
    """
    from eventsource.doctor import end_hanging, examine

    app, settings = find_app(reference), load_settings()
    began = time.monotonic()
    if end_transactions:
        for ended in end_hanging(app, settings):
            note(str(ended))
    if replay and not json:
        note("reading every event; --no-replay leaves that out")
    diagnosis = examine(
        app, settings, replay=replay, production=production, on_history=(lambda _: None) if json else _tell_progress
    )
    if json:
        print_json(as_json(app, diagnosis))
    else:
        _print(diagnosis)
        note(_summary(diagnosis, time.monotonic() - began))
    raise typer.Exit(exit_code(diagnosis))


def exit_code(diagnosis: Diagnosis) -> int:
    """The code of the worst danger: a damaged log before what is to be mended, and that before what may pass."""
    codes = {exit_code_of_kind(finding.raises) for finding in diagnosis.dangers}
    if not codes:
        return OK
    if DANGER in codes:
        return DANGER
    return max(codes - {UNAVAILABLE}, default=UNAVAILABLE)


def as_json(app: App, diagnosis: Diagnosis) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "app": app.name,
        "ok": not diagnosis.dangers,
        "production": diagnosis.facts.production,
        "dangers": len(diagnosis.dangers),
        "warnings": len(diagnosis.warnings),
        **_looked_at(diagnosis),
        "rules": [
            *(_rule_as_json(rule, found, skipped=False) for rule, found in diagnosis.findings.items()),
            *(_rule_as_json(rule, [], skipped=True) for rule in diagnosis.skipped),
        ],
    }


def _rule_as_json(rule: Rule, findings: list[Finding], *, skipped: bool) -> dict[str, Any]:
    return {
        "rule": rule.id,
        "severity": rule.severity,
        "demands": rule.demands,
        "result": _result(findings, skipped=skipped),
        "findings": [
            {
                "severity": finding.severity,
                "subject": finding.subject,
                "problem": finding.problem,
                "mend": finding.mend,
                "checked": finding.checked,
            }
            for finding in findings
        ],
    }


def _result(findings: list[Finding], *, skipped: bool = False) -> str:
    if skipped:
        return "skipped"
    return min((finding.severity.value for finding in findings), default="ok")  # "danger" comes before "warning"


def _looked_at(diagnosis: Diagnosis) -> dict[str, int]:
    facts = diagnosis.facts
    topics = facts.topics.get() if facts.topics.error is None else {}
    histories = facts.histories.get() if facts.histories.error is None else ()
    return {
        "brokers": len(facts.brokers.get()) if facts.brokers.error is None else 0,
        "topics": len(topics),
        "partitions": sum(state.partitions for state in topics.values()),
        "events": sum(history.events for history in histories),
        "outcomes": sum(history.outcomes for history in histories),
    }


def _tell_progress(history: PartitionHistory) -> None:
    if sys.stderr.isatty():
        note(
            f"{history.aggregate}[{history.partition}]: {counted(history.events, 'event')}, {counted(history.outcomes, 'outcome')}"
        )


def _print(diagnosis: Diagnosis) -> None:
    rows = [(rule.id, _result(found), rule.demands) for rule, found in diagnosis.findings.items()]
    rows += [(rule.id, _result([], skipped=True), rule.demands) for rule in diagnosis.skipped]
    print_table(("rule", "result", "what must hold"), rows)
    findings = [*diagnosis.dangers, *diagnosis.warnings]
    for finding in findings:
        if finding.checked:
            print(
                f"\n{finding.severity}: {finding.rule}: {printable(finding.problem)}\n  mend: {printable(finding.mend)}"
            )
    unchecked = [finding for finding in findings if not finding.checked]
    for reason in dict.fromkeys(finding.mend for finding in unchecked):
        # One answer that is missing keeps many rules from being checked.
        rules = [finding.rule for finding in unchecked if finding.mend == reason]
        print(f"\nnot checked: {', '.join(rules)}\n  mend: {printable(reason)}")


def _summary(diagnosis: Diagnosis, seconds: float) -> str:
    if diagnosis.facts.brokers.error is not None:
        return "nothing could be checked"
    looked = _looked_at(diagnosis)
    dangers, warnings = len(diagnosis.dangers), len(diagnosis.warnings)
    verdict = f"{counted(dangers, 'danger')}, {counted(warnings, 'warning')}" if dangers + warnings else "all is well"
    judged = "production" if diagnosis.facts.production else "development"
    read = (
        f"{counted(looked['events'], 'event')} and {counted(looked['outcomes'], 'outcome')} read"
        if diagnosis.facts.histories.error is None
        else "no events read"
    )
    return (
        f"{verdict}: {counted(len(diagnosis.findings), 'rule')} checked as {judged} on {counted(looked['brokers'], 'broker')}, "
        f"{counted(looked['topics'], 'topic')} with {counted(looked['partitions'], 'partition')}, {read}, in {seconds:.1f} s"
    )
