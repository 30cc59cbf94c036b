"""The names of what is nested in messages and states: enums, models and dataclasses that have no name of their own otherwise."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from eventsource.errors import DefinitionError

T = TypeVar("T", bound=type[Any])

_NAMES: Final = "__stored_as__"
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def stored_as(name: str, *, aliases: Iterable[str] = ()) -> Callable[[T], T]:
    """Names a nested enum, model or dataclass in the log, whatever its class is called: a class decorator.

    Without it the class's own name is in the log. `aliases` are the names that it had before, the class's name included if it was
    stored under that one. A subclass does not inherit the name. Raises `DefinitionError` for what is not ASCII letters, digits
    and underscores, beginning with no digit.

        @stored_as("Color", aliases=["Hue"])
        class Colour(Enum): ...
    """
    aliases = (aliases,) if isinstance(aliases, str) else tuple(aliases)
    for each in (name, *aliases):
        if not isinstance(each, str) or not _NAME.fullmatch(each):
            raise DefinitionError(
                f"stored_as: {each!r} is no name of a nested type: use ASCII letters, digits and underscores, beginning with a letter"
            )
    if len({name, *aliases}) != len(aliases) + 1:
        raise DefinitionError(
            f"stored_as({name!r}): a name is given twice: leave each of {name!r} and {aliases!r} there once"
        )

    def decorate(cls: T) -> T:
        if not isinstance(cls, type):
            raise DefinitionError(f"stored_as({name!r}) is for classes: put it on an enum, a model or a dataclass")
        if hasattr(cls, "message_name"):
            raise DefinitionError(
                f"{cls.__name__} is a message, which has a name already: give its old ones in the class argument aliases="
            )
        setattr(cls, _NAMES, (name, aliases))
        return cls

    return decorate


def stored_name(cls: type[Any]) -> str | None:
    """The name that a class was given, if any."""
    found: tuple[str, tuple[str, ...]] | None = vars(cls).get(_NAMES)
    return None if found is None else found[0]


def stored_aliases(cls: type[Any]) -> tuple[str, ...]:
    """The names that a class had before."""
    found: tuple[str, tuple[str, ...]] | None = vars(cls).get(_NAMES)
    return () if found is None else found[1]
