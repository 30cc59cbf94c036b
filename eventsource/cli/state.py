"""`eventsource state show`: an aggregate as it is, or as it was."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from eventsource.cli.options import AppOption, Json, find_app
from eventsource.cli.output import print_json, print_table, printable
from eventsource.errors import SettingsError
from eventsource.settings import load_settings


def register(root: typer.Typer) -> None:
    """Adds the commands."""
    group = typer.Typer(help="Aggregates, as their events make them.", rich_markup_mode=None)
    group.callback()(_group)
    group.command("show")(show)
    root.add_typer(group, name="state")


def _group() -> None:
    # A group of one command would be that command: `eventsource state`.
    pass


def show(
    what: Annotated[
        list[str],
        typer.Argument(metavar="[MODULE:APP] AGGREGATE ID", help="The app, the aggregate's name, and its id."),
    ],
    app: AppOption = None,
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
    from pydantic_core import to_jsonable_python

    from eventsource.cli.event_reading import state_at

    *reference, aggregate, aggregate_id = _words(what, app)
    found = find_app(next(iter(reference), None))
    if aggregate not in found.aggregates:
        raise SettingsError(
            f"app {found.name!r} has no aggregate {aggregate!r}: choose among {', '.join(sorted(found.aggregates))}"
        )
    loaded, time = state_at(
        found,
        load_settings(),
        aggregate,
        aggregate_id,
        at_version=at_version,
        at_time=_time(at_time),
        timeout_seconds=timeout,
    )
    state = to_jsonable_python(loaded.state, fallback=str)
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
        print(printable(f"{aggregate} {aggregate_id}  version {loaded.version}  {when}"))
        print_table(("field", "value"), state.items())


def _words(what: list[str], app: str | None) -> list[str]:
    words = [*([app] if app is not None else []), *what]
    if len(words) not in (2, 3):
        raise SettingsError(
            "state show takes an app once, an aggregate and an id: write `eventsource state show MODULE:APP AGGREGATE ID`"
        )
    return words


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not a time: write it as 2026-01-31T12:00:00Z", param_hint="--at-time"
        ) from None
