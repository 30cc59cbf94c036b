"""What commands print: tables for people, JSON for programs. Data goes to stdout, everything else to stderr."""

from __future__ import annotations

import select
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from rich.console import Console
from rich.table import Table
from rich.text import Text

from eventsource.cli.stderr import COMMAND_LOGGER, JsonLines, plain_stderr
from eventsource.cli.values import json_text, plain_text


@dataclass(slots=True)
class Invocation:
    """One run of the command: what its options say. `json`: whether `--json` stands anywhere among them."""

    debug: bool = False
    json: bool = False
    warnings: list[str] = field(default_factory=list)


def printable(value: object) -> str:
    """A value of any type in one line that cannot steer a terminal: control characters are shown as escapes."""
    return _without_controls(plain_text(value))


def print_json(document: Any, *, indent: int | None = 2) -> None:
    """Prints one JSON document; with `indent=None` on one line, flushed: a line of a stream."""
    print(json_text(document, indent=indent, encoding=sys.stdout.encoding or "ascii"), flush=indent is None)


def print_line(text: str) -> None:
    """Prints one line for people, flushed; nothing in it can steer the terminal."""
    print(_without_controls(text), flush=True)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """Prints a table; title and cells are shown as they are, nothing in them is read as markup."""
    table = Table(title=None if title is None else Text(printable(title)), title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    stdout_console().print(table)


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        # rich's own ends the process with 1.
        raise BrokenPipeError


def stdout_console() -> Console:
    """The console on stdout: as wide as the terminal, and wide enough to cut nothing elsewhere."""
    return _Console(file=sys.stdout, width=None if sys.stdout.isatty() else 160, highlight=False)


def check_output_is_read() -> None:
    """Raises `BrokenPipeError` if the reader of stdout went away: what waits to write would not notice before it writes."""
    try:
        output = sys.stdout.fileno()
    except (OSError, ValueError):
        return
    poll = select.poll()
    poll.register(output, 0)  # errors are reported in any case
    if any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
        raise BrokenPipeError


def counted(number: int, noun: str) -> str:
    """A number of things in words, such as `1 event` and `1,200 events`."""
    return f"{number:,} {noun if number == 1 else f'{noun}s'}"


def note(text: str) -> None:
    """Prints a sentence for people on stderr: never a part of the data. A line of JSON where stderr is no terminal."""
    _say("info", text, text)


def warn(text: str) -> None:
    """Prints what is wrong but stops nothing, as `note` does."""
    _say("warning", f"warning: {text}", text)


def report(text: str, error: dict[str, Any], *, always_json: bool) -> None:
    """Prints why the command fails: a sentence, or a JSON object with the fields of `error`."""
    if always_json and not isinstance(sys.stderr, JsonLines):
        JsonLines(plain_stderr()).emit("error", COMMAND_LOGGER, "command_failed", **error)
    else:
        _say("error", text, "command_failed", **error)


def _say(level: str, text: str, event: str, **fields: Any) -> None:
    if isinstance(sys.stderr, JsonLines):
        sys.stderr.emit(level, COMMAND_LOGGER, event, **fields)
    else:
        print(_without_controls(text, but="\n"), file=sys.stderr, flush=True)


def _without_controls(text: str, *, but: str = "") -> str:
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in but else char.encode("unicode_escape").decode() for char in text
    )
