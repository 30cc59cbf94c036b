"""What the shell offers for a word that is being typed: apps, aggregates, commands and projections.

Apps are found in the text of the Python files here, without importing them; an app that is named is imported, and what that
prints is discarded. Whatever fails, nothing is offered and nothing is printed.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import typer

from eventsource.app import App
from eventsource.cli.loading import load_app, named_app

_APP: Final = re.compile(r"^(\w+)(?:\s*:\s*[\w.]+)?\s*=\s*(?:\w+\.)*App\(", re.MULTILINE)
_SKIPPED: Final = frozenset({"__pycache__", "build", "dist", "node_modules", "site-packages", "tests", "venv"})
_MOST_FILES: Final = 500
_LARGEST_BYTES: Final = 200_000

Words = Callable[[App, Sequence[str]], list[str]]
"""What may stand behind the words that were given after the app."""


def complete_app(incomplete: str) -> list[str]:
    """Apps in the Python files of this folder and of its packages."""
    return _offered(_apps(), incomplete)


def complete_aggregate(context: typer.Context, incomplete: str) -> list[str]:
    """The app, then one of its aggregates."""
    return _words(context, incomplete, lambda app, rest: list(app.aggregates) if not rest else [])


def complete_command(context: typer.Context, incomplete: str) -> list[str]:
    """The app, one of its aggregates, an id (nothing is offered), one of the aggregate's commands."""
    return _words(context, incomplete, _commands)


def complete_projection(context: typer.Context, incomplete: str) -> list[str]:
    """The app, then one of its projections."""
    return _words(context, incomplete, lambda app, rest: [] if rest else _projections(app))


def join_colons(words: str, current: int) -> tuple[str, int, str]:
    """Bash's words with MODULE:APP as one: bash splits it at the colon.

    Returns the words, the index of the current one, and what of it bash will not replace.
    """
    joined: list[str] = []
    index, kept, before = current, "", ""
    for number, word in enumerate(words.split("\n")):
        head = joined.pop() if joined and ":" in (word, before) else ""
        joined.append(head + word)
        if number == current:
            index, kept = len(joined) - 1, f"{head}:" if word == ":" else head
        before = word
    return "\n".join(joined), index, kept


def _words(context: typer.Context, incomplete: str, of_app: Words) -> list[str]:
    given = [str(word) for word in context.params.get("what") or ()]
    reference, rest = (given[0], given[1:]) if given and ":" in given[0] else (None, given)
    if not given and (":" in incomplete or not _is_named()):
        return _offered(_apps(), incomplete)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            app = load_app(reference, os.environ, Path.cwd())
    except Exception:  # noqa: BLE001  what a module does on import is its own; here it only means that nothing is offered
        return []
    offered = [] if given else list(_apps())
    return _offered([*of_app(app, rest), *offered], incomplete)


def _commands(app: App, rest: Sequence[str]) -> list[str]:
    if not rest:
        return list(app.aggregates)
    if len(rest) == 2 and rest[0] in app.aggregates:
        return sorted({command.message_name for command in app.aggregates[rest[0]].__definition__.commands.values()})
    return []


def _projections(app: App) -> list[str]:
    return [name for name, consumer in app.consumers.items() if consumer.consumer_kind == "projection"]


def _is_named() -> bool:
    return named_app(None, os.environ, Path.cwd()) is not None


def _offered(words: Sequence[str] | Iterator[str], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]


def _apps() -> Iterator[str]:
    here = Path.cwd()
    number = 0
    for folder, folders, files in os.walk(here):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and name not in _SKIPPED and Path(folder, name, "__init__.py").is_file()
        )
        for file in sorted(name for name in files if name.endswith(".py")):
            number += 1
            if number > _MOST_FILES:
                return
            path = Path(folder, file)
            module = ".".join(path.relative_to(here).with_suffix("").parts).removesuffix(".__init__")
            for found in _APP.finditer(_text(path)):
                yield f"{module}:{found[1]}"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") if path.stat().st_size <= _LARGEST_BYTES else ""
    except (OSError, UnicodeDecodeError):
        return ""
