"""Arguments and options that several commands share."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from eventsource.app import App
from eventsource.cli.completion import complete_aggregate, complete_app
from eventsource.cli.loading import load_app
from eventsource.cli.output import note
from eventsource.errors import InvalidArgument, SettingsError

Reference = Annotated[
    str | None,
    typer.Argument(
        metavar="[MODULE:APP]",
        help="The app, such as examples.bank:bank; else EVENTSOURCE_APP, or [tool.eventsource] app in pyproject.toml.",
        show_default=False,
        autocompletion=complete_app,
    ),
]
Place = Annotated[
    list[str],
    typer.Argument(
        metavar="[MODULE:APP] AGGREGATE ID",
        help="The app, the aggregate's name, and its id.",
        autocompletion=complete_aggregate,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, and an error as one on stderr.")]


def find_app(reference: str | None) -> App:
    """The app that a command is about."""
    return load_app(reference, os.environ, Path.cwd())


def split_app(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """The app, if it is named, and the words after it. It comes first and has a colon; names of aggregates and projections have none."""
    return (words[0], list(words[1:])) if words and ":" in words[0] else (None, list(words))


def split_place(words: Sequence[str], command: str) -> tuple[str | None, str, str]:
    """App, aggregate and id, as `command` was given them. An id may have a colon.

    Raises `SettingsError` that says what is missing or too much.
    """
    usage = f"write `eventsource {command} MODULE:APP AGGREGATE ID`"
    reference, rest = split_app(words)
    if not rest:
        raise SettingsError(f"{command}: aggregate and id are missing: {usage}")
    if len(rest) == 1:
        raise SettingsError(f"{command}: the id of the {rest[0]} is missing: {usage}")
    if len(rest) > 2:
        raise SettingsError(
            f"{command} takes an app, an aggregate and an id, and nothing more: quote an id with blanks; {usage}"
        )
    return reference, rest[0], rest[1]


def time_of(option: str, text: str | None) -> datetime | None:
    """The time that an option was given. Raises `InvalidArgument` for what is no time, or has no time zone."""
    if text is None:
        return None
    example = "write it as 2026-01-31T12:00:00Z, or with +01:00 in the place of Z"
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidArgument(f"{option} {text!r} is not a time: {example}") from None
    if time.utcoffset() is None:
        raise InvalidArgument(f"{option} {text!r} has no time zone: {example}")
    return time


def confirmed(question: str, *, unasked: str) -> bool:
    """Whether the answer at the terminal is yes. The end of the input is a no; Ctrl-C comes through.

    Raises `InvalidArgument` with the text `unasked` where there is no terminal to ask at.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise InvalidArgument(unasked)
    while True:
        print(f"{question} [y/N]: ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            print(file=sys.stderr)
        answer = line.strip().lower()
        if answer in {"y", "yes", "n", "no", ""}:
            return answer in {"y", "yes"}
        note("answer y or n")


def known_aggregate(app: App, name: str) -> str:
    """The name itself. Raises `SettingsError` where the app has no such aggregate."""
    if name not in app.aggregates:
        known = ", ".join(sorted(app.aggregates))
        remedy = f"choose among {known}" if known else "give it one with aggregates=[…]"
        raise SettingsError(f"app {app.name!r} has no aggregate {name!r}: {remedy}")
    return name
