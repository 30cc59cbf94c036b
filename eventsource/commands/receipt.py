"""What a client gets back for a command."""

from __future__ import annotations

from dataclasses import dataclass

from eventsource.log.token import Token


@dataclass(frozen=True, slots=True)
class Receipt:
    """An accepted command: its events, if any, are in the log once, in order, durably.

    `version` is the aggregate's after the command. `token` lets a reader wait until a read model shows it; it crosses services as
    `str(token)`.
    """

    command_id: str
    aggregate_id: str
    version: int
    token: Token
