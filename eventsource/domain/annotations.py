"""Reading annotations as Python would, postponed ones and classes inside functions included."""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import FrameType, SimpleNamespace
from typing import Annotated, Any, Union

import typing_extensions

from eventsource.errors import DefinitionError, UnresolvedReference


@dataclass(frozen=True)
class Scope:
    """The names that a class statement can see."""

    globals: Mapping[str, Any]
    locals: Mapping[str, Any]


def scope_of(cls: type, frame: FrameType | None) -> Scope:
    """The scope of the statement that defines `cls`; `frame` is the one that executes it.

    Frames further out count when they belong to a function or class that encloses `cls`, by module and qualified name.
    """
    module_globals: Mapping[str, Any] = vars(sys.modules[cls.__module__]) if cls.__module__ in sys.modules else {}
    if frame is not None and frame.f_globals.get("__name__") == cls.__module__:
        module_globals = frame.f_globals  # of code run by exec(), they are not those of the module in sys.modules
    parts = cls.__qualname__.split(".")[:-1]
    enclosing = {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
    found: dict[str, Any] = {}
    first = True
    while frame is not None:
        encloses = frame.f_code.co_qualname in enclosing and frame.f_globals.get("__name__") == cls.__module__
        if (first or encloses) and frame.f_locals is not frame.f_globals:
            found = {**frame.f_locals, **found}
        if not enclosing:
            break
        first = False
        frame = frame.f_back
    return Scope(module_globals, {**found, cls.__name__: cls, **vars(cls)})


def annotations_of(function: object) -> dict[str, Any]:
    """The annotations as written: those that cannot be evaluated yet as strings or forward references."""
    return dict(typing_extensions.get_annotations(function, format=typing_extensions.Format.FORWARDREF))


def resolve(annotation: Any, scope: Scope, where: str) -> Any:
    """The type that `annotation` stands for; raises `UnresolvedReference` that begins with `where` if a name is unknown."""
    holder = SimpleNamespace(__annotations__={"it": annotation})
    try:
        return typing.get_type_hints(holder, dict(scope.globals), dict(scope.locals), include_extras=True)["it"]
    except NameError as error:
        raise UnresolvedReference(
            f"{where}: the annotation {_text(annotation)} names {error.name!r}, which is not defined there: define or import "
            "it above the class (outside of `if TYPE_CHECKING:`)"
        ) from error
    except (TypeError, AttributeError, SyntaxError, ValueError) as error:
        raise DefinitionError(
            f"{where}: the annotation {_text(annotation)} is not a type ({error}): mend it"
        ) from error


def alternatives(annotation: Any) -> Iterator[Any]:
    """The members of a union, however it is written: `A | B`, `Union`, `Optional`, a type alias, `Annotated`."""
    origin = typing.get_origin(annotation)
    if origin is Union or origin is types.UnionType:
        for argument in typing.get_args(annotation):
            yield from alternatives(argument)
    elif origin is Annotated:
        yield from alternatives(typing.get_args(annotation)[0])
    elif isinstance(annotation, typing_extensions.TypeAliasType):
        yield from alternatives(annotation.__value__)
    else:
        yield annotation


def name_of(annotation: Any) -> str:
    """How a class, a function or another annotation is called in a message to people."""
    return str(getattr(annotation, "__qualname__", annotation)).rpartition("<locals>.")[2]


def _text(annotation: Any) -> str:
    return repr(annotation.__forward_arg__ if isinstance(annotation, typing.ForwardRef) else annotation)
