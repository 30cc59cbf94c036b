"""Arguments and options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from eventsource.app import App
from eventsource.cli.loading import load_app
from eventsource.errors import SettingsError

Reference = Annotated[
    str | None,
    typer.Argument(
        metavar="[MODULE:APP]",
        help="The app, such as examples.bank:bank; else EVENTSOURCE_APP, or [tool.eventsource] app in pyproject.toml.",
        show_default=False,
    ),
]
AppOption = Annotated[
    str | None,
    typer.Option(
        "--app",
        metavar="MODULE:APP",
        help="The app; else EVENTSOURCE_APP, or [tool.eventsource] app in pyproject.toml.",
    ),
]
Place = Annotated[
    list[str],
    typer.Argument(metavar="[MODULE:APP] AGGREGATE ID", help="The app, the aggregate's name, and its id."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else.")]


def find_app(reference: str | None) -> App:
    """The app that a command is about."""
    return load_app(reference, os.environ, Path.cwd())


def split_place(words: list[str], app: str | None, command: str) -> tuple[str | None, str, str]:
    """App, aggregate and id, as `command` was given them: the app as the first word, as `--app`, or not at all.

    Names of aggregates have no colon, and ids may have one. Raises `SettingsError` that says what is missing or too much.
    """
    usage = f"write `eventsource {command} MODULE:APP AGGREGATE ID`"
    rest = list(words)
    reference = rest.pop(0) if ":" in rest[0] else None
    if reference is not None and app is not None:
        raise SettingsError(f"{command} takes one app, not both {reference} and --app {app}: leave one of them out")
    if not rest:
        raise SettingsError(f"{command}: aggregate and id are missing: {usage}")
    if len(rest) == 1:
        raise SettingsError(f"{command}: the id of the {rest[0]} is missing: {usage}")
    if len(rest) > 2:
        raise SettingsError(
            f"{command} takes an app, an aggregate and an id, and nothing more: quote an id with blanks; {usage}"
        )
    return reference if app is None else app, rest[0], rest[1]


def known_aggregate(app: App, name: str) -> str:
    """The name itself. Raises `SettingsError` where the app has no such aggregate."""
    if name not in app.aggregates:
        known = ", ".join(sorted(app.aggregates))
        mend = f"choose among {known}" if known else "give it one with aggregates=[…]"
        raise SettingsError(f"app {app.name!r} has no aggregate {name!r}: {mend}")
    return name
