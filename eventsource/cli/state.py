"""`eventsource state show`: an aggregate as it is, or as it was."""

from __future__ import annotations

from typing import Annotated

import typer

from eventsource.cli.help import CommandGroup
from eventsource.cli.options import Json, Place, find_app, known_aggregate, split_place, time_of
from eventsource.cli.output import print_json, print_line, print_table
from eventsource.cli.values import json_form
from eventsource.errors import InvalidArgument
from eventsource.settings import load_settings


def register(root: typer.Typer) -> None:
    """Adds the commands."""
    group = typer.Typer(help="Aggregates, as their events make them.", cls=CommandGroup, rich_markup_mode=None)
    group.callback()(_group)
    group.command("show")(show)
    root.add_typer(group, name="state")


def _group() -> None:
    # A group of one command would be that command: `eventsource state`.
    pass


def show(
    what: Place,
    at_version: Annotated[
        int | None, typer.Option("--at-version", min=1, metavar="N", help="As it was after its event N.")
    ] = None,
    at_time: Annotated[
        str | None,
        typer.Option(
            "--at-time", metavar="TIME", help="As it was then, such as 2026-01-31T12:00:00Z, that time included."
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.1, metavar="SECONDS", help="How long reading may take.")
    ] = 60.0,
    json: Json = False,
) -> None:
    """Print an aggregate's state, its version, and the time of its newest event: now, or at a version or time.

    Made from the events in the log by the class that is here, and needs no worker. Reads the partition that holds the aggregate
    from its beginning. Exits with 4 when there is no such aggregate or version, with 5 when its history has a gap or a repeat.
    """
    from eventsource.cli.event_reading import state_at

    reference, aggregate, aggregate_id = split_place(what, "state show")
    if at_version is not None and at_time is not None:
        raise InvalidArgument("give --at-version or --at-time, not both: leave one of them out")
    time_given = time_of("--at-time", at_time)
    found = find_app(reference)
    known_aggregate(found, aggregate)
    loaded, time = state_at(
        found,
        load_settings(),
        aggregate,
        aggregate_id,
        at_version=at_version,
        at_time=time_given,
        timeout_seconds=timeout,
    )
    state = json_form(loaded.state)
    if json:
        print_json(
            {
                "aggregate": aggregate,
                "id": aggregate_id,
                "version": loaded.version,
                "time": time.isoformat(),
                "state": state,
            }
        )
    else:
        when = time.isoformat(sep=" ", timespec="milliseconds")
        print_line(f"{aggregate} {aggregate_id}  version {loaded.version}  {when}")
        print_table(("field", "value"), state.items())
