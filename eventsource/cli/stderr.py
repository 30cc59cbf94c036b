"""Standard error: sentences for people on a terminal, and elsewhere one JSON object a line, from every source."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Literal, TextIO

from eventsource.cli.values import json_text
from eventsource.redaction import redact_text

LogFormat = Literal["auto", "text", "json"]
FORMATS: Final = ("auto", "text", "json")

COMMAND_LOGGER: Final = "eventsource.cli"
_ANYONE: Final = "stderr"


class JsonLines(io.TextIOBase):
    """Takes the place of `sys.stderr`: each line that is printed there becomes the `event` of a JSON object.

    Log lines are JSON already and go past it, to `raw`. What is no Python, such as a crash of the interpreter, writes to the
    file itself and is not caught.
    """

    def __init__(self, raw: TextIO, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        super().__init__()
        self.raw = raw
        self._now = now
        self._lock = threading.RLock()
        self._rest = ""

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if line.strip():
                self.emit("warning", _ANYONE, redact_text(line.rstrip()))
        return len(text)

    def emit(self, level: str, logger: str, event: str, **fields: Any) -> None:
        """Writes one line."""
        line = self.line(level, logger, event, **fields)
        with self._lock:
            self.raw.write(f"{line}\n")
            self.raw.flush()

    def line(self, level: str, logger: str, event: str, **fields: Any) -> str:
        """The line, without its end, that `emit` writes."""
        head = {"timestamp": self._now().isoformat().replace("+00:00", "Z"), "level": level, "logger": logger}
        return json_text({**head, "event": event, **fields}, encoding=self.raw.encoding or "ascii")

    def close(self) -> None:
        """Writes what has no end of line yet. The file stays open."""
        if self._rest:
            self.write("\n")

    def flush(self) -> None:
        self.raw.flush()

    def fileno(self) -> int:
        return self.raw.fileno()

    def isatty(self) -> bool:
        return False

    def writable(self) -> bool:
        return True


@contextmanager
def standard_error(chosen: LogFormat) -> Iterator[None]:
    """For its duration `sys.stderr` is what `chosen` says; `auto` is text on a terminal and JSON elsewhere.

    So are the tracebacks of threads and of objects that fail while they are collected: one line each.
    """
    before, hooks = sys.stderr, (threading.excepthook, sys.unraisablehook)
    raw = before.raw if isinstance(before, JsonLines) else before
    if chosen == "text" or (chosen == "auto" and raw.isatty()):
        sys.stderr = raw
    else:
        lines = sys.stderr = before if isinstance(before, JsonLines) else JsonLines(raw)
        threading.excepthook = lambda failed: _emit_failure(
            lines, "thread_failed", failed.exc_value, failed.exc_traceback, thread=getattr(failed.thread, "name", None)
        )
        sys.unraisablehook = lambda failed: _emit_failure(
            lines,
            "exception_ignored",
            failed.exc_value,
            failed.exc_traceback,
            where=failed.err_msg or repr(failed.object),
        )
    try:
        yield
    finally:
        if isinstance(sys.stderr, JsonLines):
            sys.stderr.close()
        sys.stderr = before
        threading.excepthook, sys.unraisablehook = hooks


def plain_stderr() -> TextIO:
    """The file below: what writes whole lines in the right form itself, such as the log, writes there."""
    return sys.stderr.raw if isinstance(sys.stderr, JsonLines) else sys.stderr


def _emit_failure(
    lines: JsonLines, event: str, error: BaseException | None, trace: TracebackType | None, **fields: Any
) -> None:
    import traceback

    if isinstance(error, SystemExit):
        return
    last = traceback.extract_tb(trace)[-1:]
    at = f"{last[0].filename}:{last[0].lineno}" if last else None
    lines.emit("error", _ANYONE, event, error=redact_text(f"{type(error).__name__}: {error}"), at=at, **fields)
