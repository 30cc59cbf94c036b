"""Tracebacks of failed tests without the framework's own frames."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

from eventsource.errors import EventSourceError


def trimmed(error: BaseException) -> TracebackType | None:
    """The error's traceback without the framework's frames, as long as others are left.

    An error that the framework did not mean to raise keeps them all where it was raised in the framework: it is needed to find
    out why.
    """
    entries = list(_entries(error.__traceback__))
    if not entries or (_is_ours(entries[-1]) and not isinstance(error, EventSourceError)):
        return error.__traceback__
    kept = [entry for entry in entries if not _is_ours(entry)]
    if not kept:
        return error.__traceback__
    result: TracebackType | None = None
    for entry in reversed(kept):
        result = TracebackType(result, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return result


def trim_causes(error: BaseException) -> None:
    """Trims the tracebacks of what led to an error."""
    seen = {id(error)}
    cause = error.__cause__ or error.__context__
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        cause.__traceback__ = trimmed(cause)
        cause = cause.__cause__ or cause.__context__


def _entries(entry: TracebackType | None) -> Iterator[TracebackType]:
    while entry is not None:
        yield entry
        entry = entry.tb_next


def _is_ours(entry: TracebackType) -> bool:
    return entry.tb_frame.f_code.co_filename.startswith(_folders())


@cache
def _folders() -> tuple[str, ...]:
    """Where the framework's packages are, each with a separator at its end."""
    specs = [find_spec(name) for name in ("eventsource", "projections", "sagas")]
    origins = [spec.origin for spec in specs if spec is not None and spec.origin is not None]
    return tuple(f"{Path(origin).parent}/" for origin in origins)
