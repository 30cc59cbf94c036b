"""What a client gets back for a load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from eventsource.domain import Aggregate
from eventsource.log.token import Token

A = TypeVar("A", bound=Aggregate[Any])


@dataclass(frozen=True, slots=True)
class Loaded(Generic[A]):
    """An aggregate's state after its newest event, or after an earlier one. The state is the caller's own copy.

    `version` is what `expected_version` wants: what is sent with it takes effect only if nothing happened since. `token` lets a
    reader wait until a read model shows that event.
    """

    state: A
    version: int
    token: Token
