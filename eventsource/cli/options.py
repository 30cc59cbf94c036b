"""Arguments and options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from eventsource.app import App
from eventsource.cli.loading import load_app

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
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else.")]


def find_app(reference: str | None) -> App:
    """The app that a command is about."""
    return load_app(reference, os.environ, Path.cwd())
