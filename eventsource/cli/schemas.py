"""`eventsource schemas check|record`: whether today's events can read what was ever written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eventsource.cli.help import CommandGroup
from eventsource.cli.options import Json, Reference, find_app
from eventsource.cli.output import counted, note, print_json, print_table
from eventsource.errors import DefinitionError
from eventsource.settings import load_settings

if TYPE_CHECKING:
    from eventsource.app import App
    from eventsource.schemas import SchemaText

_FILE = "FILE"


def register(root: typer.Typer) -> None:
    """Adds the commands."""
    group = typer.Typer(help="The schemas that events were written with.", cls=CommandGroup, rich_markup_mode=None)
    group.command("check")(check)
    group.command("record")(record)
    root.add_typer(group, name="schemas")


def check(
    reference: Reference = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", metavar=_FILE, help="Check against recorded schemas, without a broker."),
    ] = None,
    json: Json = False,
) -> None:
    """Check that today's event classes can read all schemas in the app's topic, or in a file of recorded ones.

    Exits with 2 where an event class cannot read its history: no worker would start.
    """
    from eventsource.schemas.history_check import unreadable_history

    app = find_app(reference)
    schemas = _registered(app) if file is None else _recorded(file)
    found = unreadable_history(app.aggregates, schemas)
    unrecorded = [] if file is None else _unrecorded(app, schemas)
    if json:
        print_json(
            {
                "schemas": len(schemas),
                "unreadable": [
                    {
                        "aggregate": each.aggregate,
                        "event": each.event,
                        "schema": each.fingerprint,
                        "reason": each.reason,
                    }
                    for each in found
                ],
                "unrecorded": unrecorded,
            }
        )
    elif found:
        print_table(
            ("aggregate", "event", "schema", "reason"),
            ((each.aggregate, each.event, each.fingerprint, each.reason) for each in found),
        )
    if found:
        raise DefinitionError("; ".join(map(str, found)))
    if not json:
        note(f"{counted(len(schemas), 'schema')} checked: today's events can read them all")
        if unrecorded:
            note(
                f"not in {file} yet: {', '.join(unrecorded)}: `eventsource schemas record` adds them when they are released"
            )


def record(
    reference: Reference = None,
    file: Annotated[
        Path, typer.Option("--file", metavar=_FILE, help="Where schemas are recorded; those in it are kept.")
    ] = Path("schemas.json"),
    registered: Annotated[
        bool, typer.Option("--registered", help="Add what the app's topic has, too: asks the brokers.")
    ] = False,
    json: Json = False,
) -> None:
    """Add the schemas of today's events to a file that `schemas check --file` reads, such as before each release."""
    from eventsource.schemas.recorded_schemas import read_schemas, todays_events, write_schemas

    app = find_app(reference)
    before = read_schemas(file) if file.exists() else []
    added = todays_events(app.aggregates) + (_registered(app) if registered else [])
    total = write_schemas(file, [*before, *added])
    if json:
        print_json({"file": file, "added": total - len(before), "schemas": total})
    else:
        note(f"{total - len(before)} added to {file}, which has {counted(total, 'schema')}")


def _registered(app: App) -> list[SchemaText]:
    from eventsource.log.admin import LogAdmin
    from eventsource.schemas.registered_schemas import read_registered

    settings = load_settings()
    config = settings.kafka.client_config()
    with LogAdmin(config, request_timeout_seconds=settings.kafka.request_timeout_seconds) as admin:
        return read_registered(app.names(settings.namespace).schemas, settings, admin)[0]


def _recorded(file: Path) -> list[SchemaText]:
    from eventsource.schemas.recorded_schemas import read_schemas

    return read_schemas(file)


def _unrecorded(app: App, schemas: list[SchemaText]) -> list[str]:
    from eventsource.schemas.recorded_schemas import todays_events

    known = {each.fingerprint for each in schemas}
    return [each.name for each in todays_events(app.aggregates) if each.fingerprint not in known]
