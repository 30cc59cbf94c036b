"""What commands print: tables for people, JSON for programs. Data goes to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text


@dataclass(slots=True)
class Invocation:
    """One run of the command: what its global options say."""

    debug: bool = False
    warnings: list[str] = field(default_factory=list)


def printable(value: object) -> str:
    """A value from the log as text that cannot steer a terminal: control characters are shown as escapes."""
    text = "" if value is None else str(value)
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def print_json(document: Any, *, indent: int | None = 2) -> None:
    """Prints one JSON document; with `indent=None` on one line, flushed: a line of a stream."""
    print(json.dumps(document, indent=indent, default=str, ensure_ascii=False), flush=indent is None)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """Prints a table; cells are shown as they are, nothing in them is read as markup."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    stdout_console().print(table)


def stdout_console() -> Console:
    """The console on stdout: as wide as the terminal, and wide enough to cut nothing elsewhere."""
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else 160, highlight=False)


def counted(number: int, noun: str) -> str:
    """A number of things in words, such as `1 event` and `1,200 events`."""
    return f"{number:,} {noun if number == 1 else f'{noun}s'}"


def note(text: str) -> None:
    """Says something to people, on stderr: never a part of the data."""
    print(text, file=sys.stderr, flush=True)
