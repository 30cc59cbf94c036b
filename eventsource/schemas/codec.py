"""Messages to bytes and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import pydantic

from eventsource.schemas.limits import DEFAULT_LIMITS, Limits
from eventsource.schemas.message_schema import message_schema
from eventsource.schemas.single_object import SingleObjectCodec
from eventsource.schemas.store import SchemaStore

M = TypeVar("M", bound=pydantic.BaseModel)


class MessageCodec(SingleObjectCodec[M]):
    """Writes and reads one message class. Safe to share between threads.

    `record_name`: the message's given name; `aliases`: those that it had before (default: the class's `message_aliases`).
    `role`: what the schema is registered for, such as `event:account`.
    Raises what `message_schema` raises.
    """

    def __init__(
        self,
        model: type[M],
        record_name: str,
        store: SchemaStore,
        aliases: Iterable[str] | None = None,
        *,
        limits: Limits = DEFAULT_LIMITS,
        role: str = "",
    ) -> None:
        if aliases is None:
            aliases = getattr(model, "message_aliases", ())
        self.model = model
        super().__init__(message_schema(model, record_name, aliases, role=role), store, limits)


def codecs_by_name(
    classes: Mapping[str, type[Any]], store: SchemaStore, *, limits: Limits = DEFAULT_LIMITS, role: str = ""
) -> dict[str, MessageCodec[Any]]:
    """A codec for each message class, under each of the class's names. `role` is what their schemas are registered for."""
    by_class = {
        message: MessageCodec(message, message.message_name, store, limits=limits, role=role)
        for message in set(classes.values())
    }
    return {name: by_class[message] for name, message in classes.items()}
