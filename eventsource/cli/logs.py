"""Logging of the command line: to stderr, for people on a terminal and as JSON lines elsewhere."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import IO, Any, Final

import structlog
from structlog.typing import EventDict, WrappedLogger

from eventsource.cli.log_limit import OneLineAMinute
from eventsource.cli.output import printable
from eventsource.cli.values import json_text
from eventsource.redaction import REDACTED, is_secret_name, redact_text

LEVELS: Final = ("debug", "info", "warning", "error", "critical")
_OURS: Final = ("eventsource", "projections", "sagas")


def configure_logging(stream: IO[str], *, level: str, debug: bool, as_json: bool | None = None) -> None:
    """Sends structlog and the standard library's logging to `stream`. Tracebacks are shown with `debug` alone.

    `as_json`: one JSON object a line, or lines for people; by default those where `stream` is a terminal.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _show_traceback if debug else _name_error,
        _redact,
    ]
    as_json = not stream.isatty() if as_json is None else as_json
    renderers: list[Any] = (
        [_in_order, _as_json(getattr(stream, "encoding", None) or "utf-8")]
        if as_json
        else [_without_controls, structlog.dev.ConsoleRenderer(colors=stream.isatty())]
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Other libraries' debug level is about other things than the reader's.
    root.setLevel(max(logging.INFO, logging.getLevelNamesMapping()[level.upper()]))
    for name in _OURS:
        logging.getLogger(name).setLevel(level.upper())
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            OneLineAMinute(debug=level == "debug"),
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def _in_order(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """What every line has comes first, so that lines can be read below each other."""
    first = {name: event.pop(name) for name in ("timestamp", "level", "logger", "event") if name in event}
    return {**first, **event}


def _as_json(encoding: str) -> Callable[[WrappedLogger, str, EventDict], str]:
    def render(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
        return json_text(event, encoding=encoding)

    return render


def _without_controls(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Texts from the log, such as ids and errors, cannot steer the terminal. Only a traceback has lines."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = "\n".join(map(printable, value.split("\n"))) if name == "exception" else printable(value)
    return event


def _name_error(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """In the place of a traceback, the error's class and text."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event.setdefault("error", f"{type(error).__name__}: {error}")
    return event


def _show_traceback(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    return structlog.processors.format_exc_info(logger, method, event)


def _redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The last line of defence: nobody should log a secret, and if somebody does, it is not written."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = REDACTED if is_secret_name(name) else redact_text(value)
    return event
