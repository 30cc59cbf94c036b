"""What is told of an error that a handler raised."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Final

import structlog

from eventsource.commands.request import Request
from eventsource.errors import EventSourceError

_log = structlog.get_logger("eventsource.commands")

FailureListener = Callable[[str, Request, BaseException], None]
"""Called with an aggregate's name, a command that failed, and what it failed on."""

_MESSAGE_CHARACTERS: Final = 1_000
_CODE_CHARACTERS: Final = 200


def text_of(error: BaseException) -> str:
    """What an error says, at most 1,000 characters of it."""
    try:
        return str(error)[:_MESSAGE_CHARACTERS]
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - user code again: an error that cannot say what it is
        return "the error has no readable text"


def code_of(error: BaseException) -> str:
    """The name of an error's class, at most 200 characters of it."""
    return type(error).__name__[:_CODE_CHARACTERS]


def place_of(error: BaseException) -> str:
    """Where an error was raised: file, line and function; empty where that is not known."""
    frames = traceback.extract_tb(error.__traceback__, limit=-1)
    return f"{frames[0].filename}:{frames[0].lineno} in {frames[0].name}" if frames else ""


def log_failure(aggregate: str, request: Request, error: BaseException) -> None:
    """Tells of a command that failed: whose, what for, and where a handler raised."""
    told = _log.bind(
        aggregate=aggregate,
        aggregate_id=request.aggregate_id,
        command_id=request.headers.command_id,
        correlation_id=request.headers.trail.correlation_id or request.headers.command_id,
        causation_id=request.headers.trail.causation_id,
        command=request.headers.type,
        error=code_of(error),
        reason=text_of(error),
    )
    if isinstance(error, EventSourceError):
        told.error("command_failed")
    else:
        told = told.bind(where=place_of(error))  # a handler's: who reads a log without tracebacks has to find it
        try:
            told.error("command_failed", exc_info=error)
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 - an error that cannot be printed makes some loggers raise
            told.error("command_failed")
