"""The form of an aggregate's ids: declared with the class, and checked by everything that takes an id."""

from __future__ import annotations

import re
from typing import Any, Final, TypeAlias
from uuid import UUID

from eventsource.errors import DefinitionError

_UUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_WHOLE_NUMBER: Final = re.compile(r"0|-?[1-9][0-9]{0,18}")
_TYPES: Final = (str, int, UUID)
_MAX_CHARACTERS: Final = 1_024


class IdForm:
    """What an aggregate's ids look like: `class Order(Aggregate, name="order", ids=IdForm(pattern=r"[A-Z]{2}-[0-9]+", max_length=20))`.

    `type` is `str`, `int` (a whole number of 64 bits in plain form, such as `42`) or `UUID` (in canonical form: lower case, with
    hyphens). `pattern` is a regular expression that the whole id must match, `max_length` the largest number of characters, 1 to 1,024.
    `ids=UUID`, `ids=int` and `ids=r"[A-Z]{2}-[0-9]+"` are short for an `IdForm` of that type or pattern.

    Raises `DefinitionError` for what is no such type, pattern or length.
    """

    __slots__ = ("_compiled", "max_length", "pattern", "type")

    def __init__(
        self, type: type[str | int | UUID] = str, *, pattern: str | None = None, max_length: int | None = None
    ) -> None:
        if type not in _TYPES:
            raise DefinitionError(f"IdForm({type!r}): an id is a str, an int or a UUID: give one of these types")
        if type is not str and (pattern is not None or max_length is not None):
            raise DefinitionError(
                f"IdForm({type.__name__}, …): pattern= and max_length= describe ids of type str: leave them out, or leave out the type"
            )
        if max_length is not None and (
            not isinstance(max_length, int) or isinstance(max_length, bool) or not 1 <= max_length <= _MAX_CHARACTERS
        ):
            raise DefinitionError(f"IdForm(max_length={max_length!r}): give a whole number from 1 to {_MAX_CHARACTERS}")
        self.type = type
        self.pattern = pattern
        self.max_length = max_length
        self._compiled = _compiled(type, pattern)

    def fault_of(self, aggregate_id: str) -> str | None:
        """Why a text is not of this form, to be read behind it; None if it is."""
        if self.max_length is not None and len(aggregate_id) > self.max_length:
            return f"has {len(aggregate_id)} characters, {self.max_length} are allowed: give a shorter one"
        if self._compiled is not None and self._compiled.fullmatch(aggregate_id) is None:
            if self.type is UUID:
                return "is no UUID in canonical form (lower case, with hyphens): give a UUID, or str() of one"
            if self.type is int:
                return "is no whole number in plain form: give str() of an int"
            return f"does not match {self.pattern!r}: give one that does"
        if self.type is int and not -(2**63) <= int(aggregate_id) < 2**63:
            return "is a number of more than 64 bits: give a smaller one"
        return None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IdForm) and self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash(self._parts())

    def __repr__(self) -> str:
        given = [] if self.type is str else [self.type.__name__]
        given += [f"pattern={self.pattern!r}"] if self.pattern is not None else []
        given += [f"max_length={self.max_length}"] if self.max_length is not None else []
        return f"IdForm({', '.join(given)})"

    def _parts(self) -> tuple[Any, ...]:
        return self.type, self.pattern, self.max_length


Ids: TypeAlias = "type[UUID] | type[int] | type[str] | str | IdForm"
"""What `ids=` of an aggregate class takes."""


def id_form(where: str, ids: object) -> IdForm:
    """The form that `ids=` stands for. Raises `DefinitionError`, beginning with `where`, for what stands for none."""
    try:
        if isinstance(ids, IdForm):
            return ids
        if isinstance(ids, str):
            return IdForm(pattern=ids)
        if isinstance(ids, type) and ids in _TYPES:
            return IdForm(ids)
    except DefinitionError as error:
        raise DefinitionError(f"{where}: {error}") from error
    raise DefinitionError(
        f"{where} has ids={ids!r}: give UUID, int, a regular expression as a str, or an IdForm(pattern=…, max_length=…)"
    )


def _compiled(type_: type, pattern: str | None) -> re.Pattern[str] | None:
    if type_ is UUID:
        return _UUID
    if type_ is int:
        return _WHOLE_NUMBER
    if pattern is None:
        return None
    if not isinstance(pattern, str):
        raise DefinitionError(f"IdForm(pattern={pattern!r}) is no regular expression: give a str")
    try:
        return re.compile(pattern)
    except re.error as error:
        raise DefinitionError(f"IdForm(pattern={pattern!r}) is no regular expression ({error}): correct it") from error
