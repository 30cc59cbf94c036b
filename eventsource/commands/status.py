"""What can become of a command, and the outcome that records it when it left no event."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from pydantic import BaseModel, ConfigDict


class Status(IntEnum):
    """What became of a command. The numbers are on the wire: see `docs/wire.md`."""

    ACCEPTED = 0
    REJECTED = 1
    NOT_FOUND = 2
    ALREADY_EXISTS = 3
    VERSION_CONFLICT = 4
    FAILED = 5
    EXPIRED = 6
    COMMAND_ID_REUSED = 7


OUTCOME_NAME: Final = "outcome"


class Outcome(BaseModel):
    """The value of an outcome record.

    `version` is the aggregate's version when the command was handled. `code` is the rejection's code or the failed handler's error
    class; `details` is JSON: the rejection's fields, the version expected, or the failure's message. `offset` is that of the
    aggregate's newest event, -1 where it has none. Where that event is in the outcome's own transaction, it has no offset yet:
    `newest_command` is the id of its command then.
    """

    model_config = ConfigDict(frozen=True)

    status: int
    version: int
    code: str
    details: str
    offset: int = -1
    newest_command: str = ""
