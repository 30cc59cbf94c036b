"""Messages as they come back from the log: what a decision meets in production, and what its events are applied as."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeVar

from eventsource.domain.annotations import name_of
from eventsource.domain.message import Message
from eventsource.errors import EncodeError

if TYPE_CHECKING:
    from eventsource.schemas import MessageCodec

M = TypeVar("M", bound=Message)
_CODECS_KEPT = 1_000


def written_and_read(message: M) -> M:
    """The message once it was written and read. Raises `AssertionError` where it cannot be written: in production it fails."""
    __tracebackhide__ = True
    codec = _codec(type(message))
    try:
        value = codec.encode(message)
    except EncodeError as error:
        raise AssertionError(
            f"the {message.message_kind} {name_of(type(message))} cannot be written to the log: {error}"
        ) from error
    read: M = codec.decode(value)
    return read


@functools.lru_cache(maxsize=_CODECS_KEPT)
def _codec(message: type[Message]) -> MessageCodec[Any]:
    from eventsource.schemas import MemorySchemaStore, MessageCodec  # a test that never writes loads no client of Kafka

    return MessageCodec(message, message.message_name, MemorySchemaStore())
