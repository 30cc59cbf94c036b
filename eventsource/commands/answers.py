"""From a reply to what the caller sees: a receipt, or the error that was raised at the other end."""

from __future__ import annotations

import json
from typing import Any

from eventsource.commands.receipt import Receipt
from eventsource.commands.reply import Reply
from eventsource.commands.status import Status
from eventsource.domain import Aggregate
from eventsource.domain.rejected import restore_rejected
from eventsource.errors import (
    AlreadyExists,
    CommandIdReused,
    Expired,
    HandlerFailed,
    NotFound,
    VersionConflict,
)
from eventsource.log.token import Token


def answer_of(
    reply: Reply, aggregate: type[Aggregate[Any]], aggregate_id: str, events_topic_id: bytes
) -> Receipt | Exception:
    """What a reply means to the one who sent the command."""
    if reply.status is Status.ACCEPTED:
        token = Token(events_topic_id, reply.partition, reply.offset, aggregate_id, reply.version)
        return Receipt(reply.command_id, aggregate_id, reply.version, token)
    return _error(reply, aggregate, aggregate_id)


def _error(reply: Reply, aggregate: type[Aggregate[Any]], aggregate_id: str) -> Exception:
    name = aggregate.__definition__.name
    details: dict[str, Any] = json.loads(reply.details) if reply.details else {}
    match reply.status:
        case Status.REJECTED:
            return restore_rejected(reply.code, details, aggregate.__module__)
        case Status.NOT_FOUND:
            return NotFound(name, aggregate_id)
        case Status.ALREADY_EXISTS:
            return AlreadyExists(name, aggregate_id)
        case Status.VERSION_CONFLICT:
            return VersionConflict(aggregate_id, int(details["expected"]), reply.version)
        case Status.EXPIRED:
            return Expired(reply.command_id, float(details["window_seconds"]))
        case Status.COMMAND_ID_REUSED:
            return CommandIdReused(reply.command_id)
        case _:
            return HandlerFailed(reply.command_id, reply.code, str(details.get("message", "")))
