"""Finding the field that failed, only once something did: the fast functions carry no field names along."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from eventsource.errors import DecodeError, EncodeError

_LONGEST_PATH: Final = 8


class Located(Exception):  # never leaves this package: the codec turns it into an EncodeError or DecodeError
    """A failure and the fields that lead to it, outermost first."""

    def __init__(self, path: tuple[str, ...], reason: str) -> None:
        super().__init__(reason)
        self.path = path
        self.reason = reason

    def text(self, message_name: str) -> str:
        """Such as `deposited.address.city: str is needed, not int`."""
        path = self.path if len(self.path) <= _LONGEST_PATH else (*self.path[:_LONGEST_PATH], "…")
        return f"{'.'.join((message_name, *path))}: {self.reason}"


# What a conversion of a value of the wrong type may raise, besides the errors that say so themselves.
FAILURES: Final = (
    Located,
    EncodeError,
    DecodeError,
    TypeError,
    ValueError,
    AttributeError,
    LookupError,
    ArithmeticError,
    RecursionError,
)


def locate(lines: Mapping[int, str], error: Exception) -> Located:
    """Names the field whose line of the calling function raised `error`."""
    trace = error.__traceback__
    field = lines.get(trace.tb_lineno) if trace is not None else None
    path = () if field is None else (field,)
    if isinstance(error, Located):
        return Located(path + error.path, error.reason)
    return Located(path, _reason(error))


def _reason(error: Exception) -> str:
    """What went wrong, without the value that it went wrong with."""
    if isinstance(error, (EncodeError, DecodeError)):
        return str(error)
    if isinstance(error, KeyError):
        return "it has no value: make messages by calling their class"
    if isinstance(error, RecursionError):
        return "the message nests too deep: flatten it, or refer by id"
    return f"the value is not what its type says ({type(error).__name__})"
