"""What is told of an error that a handler raised."""

from __future__ import annotations

import traceback
from typing import Final

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
