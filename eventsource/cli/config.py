"""`eventsource config show|reference`: the settings in force, and all there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import typer

from eventsource.cli.help import CommandGroup
from eventsource.cli.options import Json
from eventsource.cli.output import print_json, print_table
from eventsource.cli.reference import settings_reference, settings_rows
from eventsource.settings import Settings, load_settings, redacted, variable_name, variable_sources


def register(root: typer.Typer) -> None:
    """Adds the commands."""
    group = typer.Typer(help="The settings.", cls=CommandGroup, rich_markup_mode=None)
    group.command("show")(show)
    group.command("reference")(reference)
    root.add_typer(group, name="config")


def show(json: Json = False) -> None:
    """Show every setting in force and where it comes from; secrets are replaced."""
    settings = load_settings()
    sources = variable_sources()
    if json:
        print_json({"settings": redacted(settings), "sources": sources})
        return
    print_table(("setting", "value", "from"), _rows(settings, sources))


def reference(json: Json = False) -> None:
    """Print the reference of all settings, in Markdown."""
    if json:
        print_json({"settings": [asdict(setting) for setting in settings_rows()]})
    else:
        print(settings_reference(), end="")


def _rows(settings: Settings, sources: Mapping[str, str]) -> Iterator[tuple[str, object, str]]:
    for location, value in _leaves(redacted(settings), ()):
        yield variable_name(location), value, _source(location, sources)


def _leaves(values: Mapping[str, Any], location: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and (value or not location):
            yield from _leaves(value, (*location, name))
        else:
            yield (*location, name), "" if value is None or value == {} else value


def _source(location: tuple[str, ...], sources: Mapping[str, str]) -> str:
    """Where a value comes from: its own variable, or that of a part above it (as JSON), or nowhere."""
    for length in range(len(location), 0, -1):
        source = sources.get(variable_name(location[:length]))
        if source is not None:
            return source
    return "default"
