"""Rejections: a domain's own refusals, which travel as JSON and are raised again at the client."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self, TypeVar

from pydantic import Field
from typing_extensions import dataclass_transform

from eventsource.domain.annotations import Scope, name_of, scope_of
from eventsource.domain.details import DetailFields
from eventsource.errors import DefinitionError, EventSourceError

_CODE = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")
R = TypeVar("R", bound="Rejected")


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(Field,))
class Rejected(EventSourceError):
    """Raised by a domain to refuse a command; the client raises the same class again.

    `class InsufficientFunds(Rejected, code="insufficient_funds")`. Annotated fields become keyword-only parameters of
    the constructor, validated by pydantic; they travel as JSON, Decimals exactly, as strings. `abstract=True` instead of
    a code makes a base to catch several by. A code that the client does not know arrives as a plain `Rejected` with the
    `code` and the raw `details()`.
    """

    code: ClassVar[str]
    _abstract: ClassVar[bool] = True
    _fields: ClassVar[DetailFields]
    _serial: ClassVar[int] = 0
    """Grows with each definition, so that the newest of one code can be told."""

    def __init_subclass__(cls, *, code: str | None = None, abstract: bool = False, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        where = f"rejection {name_of(cls)}"
        if abstract:
            if code is not None:
                raise DefinitionError(f"{where} is abstract and never raised itself: leave out its code")
        elif code is None:
            raise DefinitionError(
                f'{where} has no code: write class {cls.__name__}(…, code="…"), which clients in any language know it by, or '
                "abstract=True for a base of other rejections"
            )
        elif not _CODE.fullmatch(code):
            raise DefinitionError(f"{where} has code={code!r}: use lower-case words joined by underscores or hyphens")
        else:
            _refuse_second(cls, code)
        cls._fields = DetailFields(cls, scope_of(cls, sys._getframe(1)))
        cls._serial = 1 + max((other._serial for other in _live(Rejected)), default=0)
        cls._abstract = abstract
        if code is not None:  # last: a class whose definition failed is found by nobody
            cls.code = code

    def __init__(self, **fields: Any) -> None:
        cls = type(self)
        if cls._abstract:
            raise DefinitionError(f'{name_of(cls)} has no code and cannot be raised: raise a subclass with code="…"')
        super().__init__()
        self.__dict__.update(cls._fields.model.model_validate(fields).__dict__)

    def details(self) -> dict[str, Any]:
        """The fields as JSON can hold them; Decimals, dates and the like as strings, exactly."""
        raw: dict[str, Any] | None = self.__dict__.get("_raw")
        if raw is not None:
            return dict(raw)
        return type(self)._fields.dump(self.__dict__)

    @classmethod
    def from_details(cls, code: str, details: Mapping[str, Any]) -> Self:
        """The rejection that `details()` was taken from, its fields typed again.

        Details of another version of the class do not fail: unknown ones are kept in `details()` alone, and if the known ones do
        not fit today's fields they are set as they came. On `Rejected` itself, or with a code that is not the class's, it
        makes one that carries the code and the raw details.
        """
        rejected = cls.__new__(cls)
        if cls._abstract or cls.code != code:
            rejected.__dict__.update(code=code, _raw=dict(details))
            return rejected
        rejected.__dict__.update(cls._fields.load(details))
        if not cls._fields.names >= set(details):
            rejected.__dict__["_raw"] = dict(details)
        return rejected

    def __str__(self) -> str:
        code = getattr(self, "code", name_of(type(self)))
        raw = self.__dict__.get("_raw")
        fields = (
            raw
            if raw is not None
            else {name: self.__dict__[name] for name in type(self)._fields.names if name in self.__dict__}
        )
        return f"{code}: {', '.join(f'{name}={value}' for name, value in fields.items())}" if fields else code

    def __repr__(self) -> str:
        return f"{name_of(type(self))}({str(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        # BaseException's own would call the class with positional arguments, of which there are none
        return _bare, (type(self),), dict(self.__dict__)


Rejected._fields = DetailFields(Rejected, Scope({}, {}))


def find_rejected(code: str, prefer_module: str | None = None) -> type[Rejected] | None:
    """The class of `code`: of several, one defined in `prefer_module`, else the one that was defined last."""
    found: type[Rejected] | None = None
    for cls in _live(Rejected):
        if vars(cls).get("code") != code:
            continue
        if found is None or (cls.__module__ == prefer_module, cls._serial) > (
            found.__module__ == prefer_module,
            found._serial,
        ):
            found = cls
    return found


def restore_rejected(code: str, details: Mapping[str, Any], prefer_module: str | None = None) -> Rejected:
    """The rejection to raise at the client: of the class that `find_rejected` finds, else a plain `Rejected`."""
    return (find_rejected(code, prefer_module) or Rejected).from_details(code, details)


def _live(cls: type[Rejected]) -> Iterator[type[Rejected]]:
    # Python holds subclasses weakly, so a class that nobody can raise any more is not found either
    for subclass in cls.__subclasses__():
        yield subclass
        yield from _live(subclass)


def _refuse_second(cls: type[Rejected], code: str) -> None:
    for other in _live(Rejected):
        if vars(other).get("code") != code or other.__module__ != cls.__module__:
            continue
        same_place = other.__qualname__.rpartition(".")[0] == cls.__qualname__.rpartition(".")[0]
        if same_place and other.__qualname__ != cls.__qualname__:
            raise DefinitionError(
                f"rejections {name_of(other)} and {name_of(cls)} share the code {code!r}: give one of them another code"
            )


def _bare(cls: type[R]) -> R:
    return cls.__new__(cls)
