"""Invariants: what must hold of an aggregate after every event, checked before anything is written."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from eventsource.domain.annotations import name_of
from eventsource.errors import DefinitionError

F = TypeVar("F", bound=Callable[[Any], Any])
Invariant = Callable[[Any], Any]

_MARK = "__eventsource_invariant__"


def invariant(method: F) -> F:
    """Marks a method that looks at the aggregate after a command's events were applied: `(self) -> bool | None`.

    To return False, or to raise anything but a `Rejected`, fails the command (`HandlerFailed`); to raise a `Rejected`
    refuses it. Nothing is written in either case. Invariants are not checked when the log is read back: events are facts.
    """
    if not inspect.isfunction(method):
        raise DefinitionError(f"@invariant marks plain methods, and {method!r} is none: put it above `def name(self):`")
    parameters = list(inspect.signature(method).parameters.values())
    if len(parameters) != 1:
        raise DefinitionError(f"@invariant {method.__qualname__} takes self alone: give it no other parameter")
    setattr(method, _MARK, True)
    return method


def invariants_of(aggregate: type) -> tuple[Invariant, ...]:
    """The marked methods, inherited ones too, bases first. Raises `DefinitionError` for one that is replaced unmarked."""
    found: dict[str, Invariant] = {}
    for base in reversed(aggregate.__mro__):
        for name, attribute in vars(base).items():
            if getattr(attribute, _MARK, False):
                found[name] = attribute
            elif name in found:
                raise DefinitionError(
                    f"{name_of(base)}.{name} replaces an invariant, and is not marked: put @invariant above it too"
                )
    return tuple(found.values())
