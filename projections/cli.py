"""`eventsource projections list|rebuild`: how far read models are, and rebuilding them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eventsource.cli.completion import complete_projection
from eventsource.cli.exit_codes import REFUSED
from eventsource.cli.help import CommandGroup
from eventsource.cli.options import Json, Reference, confirmed, find_app, split_app
from eventsource.cli.output import counted, note, print_json, print_table
from eventsource.errors import SettingsError
from eventsource.settings import load_settings

if TYPE_CHECKING:
    from projections.rebuild import RebuildReport
    from projections.status import ProjectionStatus

app = typer.Typer(help="The app's read models in Postgres.", cls=CommandGroup, rich_markup_mode=None)


@app.command("list")
def list_command(reference: Reference = None, json: Json = False) -> None:
    """Show how far each projection is, and in what its table differs.

    The ends of transactions count as offsets. A table is compared with its class: columns, constraints, indexes and defaults; a rebuild
    removes the differences.
    """
    from projections.status import projection_statuses

    found = find_app(reference)
    statuses = projection_statuses(found, load_settings())
    if json:
        print_json({"app": found.name, "projections": [_document(status) for status in statuses]})
        return
    print_table(
        ("projection", "revision", "table", "partitions", "position", "end", "lag", "state"),
        (
            (
                status.name,
                status.revision,
                status.table,
                status.partitions,
                status.position,
                status.end,
                status.lag,
                status.state.value,
            )
            for status in statuses
        ),
    )
    for status in statuses:
        for difference in status.differences:
            note(f"{status.name}: {difference}")


@app.command("rebuild")
def rebuild_command(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="[MODULE:APP] NAME",
            help="The app, and the projection's name as `list` shows it.",
            autocompletion=complete_projection,
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needed where there is no terminal.")] = False,
    json: Json = False,
) -> None:
    """Throw a read model away and fold the whole log into it again.

    Workers may run; they wait meanwhile. Readers see an empty table that grows. Exits with 6 when the answer is no.
    """
    from projections.rebuild import find_projection, rebuild

    reference, name = _split(what)
    found = find_app(reference)
    definition = find_projection(found, name)
    settings = load_settings()
    if not yes and not confirmed(
        f"Empty the table {definition.model.__tablename__!r} and fold it again? Readers see it grow meanwhile.",
        unasked=f"rebuilding {name} empties its table, and there is no terminal to ask at: give --yes to do it without asking",
    ):
        note(f"{name} is left as it is")
        raise typer.Exit(REFUSED)
    with _progress_bar(f"rebuilding {name}") as progress:
        report = rebuild(found, name, settings, progress)
    _print_report(report, json=json)


def _split(words: list[str]) -> tuple[str | None, str]:
    reference, names = split_app(words)
    if len(names) != 1:
        raise SettingsError(
            "projections rebuild takes an app and the name of one projection: write `eventsource projections rebuild MODULE:APP NAME`"
        )
    return reference, names[0]


@contextmanager
def _progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("offsets"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    # On stderr, so that --json leaves stdout to the data; where that is no terminal, nothing is drawn.
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _print_report(report: RebuildReport, *, json: bool) -> None:
    per_second = round(report.events / report.seconds) if report.seconds else 0
    if json:
        print_json(asdict(report) | {"seconds": round(report.seconds, 3), "events_per_second": per_second})
        return
    for change in report.changes:
        note(f"{report.projection}: changed, since {change}")
    note(
        f"{report.projection}: {counted(report.events, 'event')} of {counted(report.records, 'record')} folded into "
        f"{counted(report.rows, 'row')} in {report.seconds:.1f} s ({per_second:,} events/s)"
    )


def _document(status: ProjectionStatus) -> dict[str, Any]:
    return {
        "name": status.name,
        "revision": status.revision,
        "table": status.table,
        "topics": list(status.topics),
        "partitions": status.partitions,
        "position": status.position,
        "end": status.end,
        "lag": status.lag,
        "state": status.state.value,
        "differences": list(status.differences),
    }
