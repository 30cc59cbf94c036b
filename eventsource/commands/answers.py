"""From a reply to what the caller sees: a receipt or a state, or the error that was raised at the other end."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from eventsource.commands.loaded import Loaded
from eventsource.commands.pending import Pending
from eventsource.commands.receipt import Receipt
from eventsource.commands.reply import Reply
from eventsource.commands.status import Status
from eventsource.domain import Aggregate
from eventsource.domain.rejected import restore_rejected
from eventsource.errors import (
    AlreadyExists,
    CommandIdReused,
    DecodeError,
    Expired,
    HandlerFailed,
    LoadFailed,
    NotFound,
    VersionConflict,
)
from eventsource.log.token import Token
from eventsource.schemas import StateCodec

A = TypeVar("A", bound=Aggregate[Any])


def answer_of(
    reply: Reply, aggregate: type[Aggregate[Any]], aggregate_id: str, events_topic_id: bytes
) -> Receipt | Exception:
    """What a reply means to the one who sent the command."""
    if reply.status is Status.ACCEPTED:
        return Receipt(reply.command_id, aggregate_id, reply.version, _token(reply, aggregate_id, events_topic_id))
    return _error(reply, aggregate, aggregate_id)


def loaded_from(
    reply: Reply, codec: StateCodec[A], aggregate_id: str, events_topic_id: bytes, *, patience_seconds: float
) -> Loaded[A]:
    """The state that a reply to a load carries.

    Raises `NotFound`, `LoadFailed`; `DecodeError` when the worker's state cannot become this class, `UnknownFingerprint` when its
    schema cannot be found within `patience_seconds`.
    """
    name = codec.aggregate_class.__definition__.name
    if reply.status is Status.FAILED:
        raise LoadFailed(reply.command_id, name, aggregate_id, reply.code, _message(reply))
    if reply.status is not Status.ACCEPTED:
        raise _error(reply, codec.aggregate_class, aggregate_id)
    try:
        state = codec.decode(reply.state, patience_seconds=patience_seconds)
    except DecodeError as error:
        raise DecodeError(
            f"the state of {name} {aggregate_id!r} was written by a worker of another version: {error}; deploy both in one version, or "
            "load it with at_version or at_time, from its events"
        ) from error
    return Loaded(state, reply.version, _token(reply, aggregate_id, events_topic_id))


def _token(reply: Reply, aggregate_id: str, events_topic_id: bytes) -> Token:
    return Token(events_topic_id, reply.partition, reply.offset, aggregate_id, reply.version)


def _error(reply: Reply, aggregate: type[Aggregate[Any]], aggregate_id: str) -> Exception:
    name = aggregate.__definition__.name
    match reply.status:
        case Status.REJECTED:
            return restore_rejected(reply.code, _details(reply), aggregate.__module__)
        case Status.NOT_FOUND:
            return NotFound(name, aggregate_id)
        case Status.ALREADY_EXISTS:
            return AlreadyExists(name, aggregate_id)
        case Status.VERSION_CONFLICT:
            return VersionConflict(aggregate_id, int(_details(reply)["expected"]), reply.version)
        case Status.EXPIRED:
            return Expired(reply.command_id, float(_details(reply)["window_seconds"]))
        case Status.COMMAND_ID_REUSED:
            return CommandIdReused(reply.command_id)
        case _:
            return HandlerFailed(reply.command_id, reply.code, _message(reply))


def _details(reply: Reply) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(reply.details) if reply.details else {}
    return found


def _message(reply: Reply) -> str:
    return str(_details(reply).get("message", ""))


def resolve_command(pending: Pending, aggregate: type[Aggregate[Any]], events_topic_id: bytes, reply: Reply) -> None:
    """Resolves a command's `Pending` with what the reply says."""
    found = answer_of(reply, aggregate, pending.aggregate_id, events_topic_id)
    if isinstance(found, Receipt):
        pending.resolve(found)
    else:
        pending.resolve(None, found)


def resolve_load(
    pending: Pending[Loaded[A]], codec: StateCodec[A], events_topic_id: bytes, patience_seconds: float, reply: Reply
) -> None:
    """Resolves a load's `Pending`; the state is read when it is asked for."""
    aggregate_id = pending.aggregate_id
    pending.resolve_with(
        lambda: loaded_from(reply, codec, aggregate_id, events_topic_id, patience_seconds=patience_seconds)
    )
