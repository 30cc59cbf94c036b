"""Aggregates: what commands are decided on, and what events make and change."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import sys
from collections.abc import Iterator
from typing import Any, ClassVar, Generic, get_args, get_origin

from pydantic.fields import FieldInfo
from typing_extensions import TypeVar, dataclass_transform, get_original_bases

from eventsource.domain.annotations import Scope, alternatives, annotations_of, name_of, resolve, scope_of
from eventsource.domain.definition import AggregateDefinition, check_creates, define
from eventsource.domain.handlers import Handler, mark_of, read_handler
from eventsource.domain.ids import IdForm, Ids, id_form
from eventsource.domain.message import Command
from eventsource.domain.state_shapes import FIELD_TYPES
from eventsource.errors import DefinitionError
from eventsource.names import check_name

C = TypeVar("C", bound=Command, default=Command)


@dataclass_transform(kw_only_default=True, field_specifiers=(dataclasses.field,))
class Aggregate(Generic[C]):
    """Base of all aggregates. `class Account(Aggregate, name="account")` becomes a dataclass with keyword-only fields.

    Methods marked with `@creates`, `@decides` and `@applies` handle its messages; each is dispatched on its
    annotation. `Aggregate[AccountCommand]`, with the union of the commands, lets a type checker refuse to send it any
    other. Deciding and applying may also be written out by hand, over a union and with `match`: methods called `decide`
    and `evolve` need no decorator, while what creates keeps its `@creates`. `abstract=True` instead of a name makes a
    base that others inherit fields and methods from. Mistakes are found while the class is defined: `DefinitionError`.

    `ids` declares the form of its ids, which everything that takes an id checks: `UUID`, `int`, a regular expression that the whole
    id must match, or an `IdForm`. A class without it has that of its base.

    `state_revision` is raised by hand when code outside of the class changed in a way that makes other state from the same
    events: what was kept of older states is thrown away then. A change in the class itself is noticed.
    """

    __definition__: ClassVar[AggregateDefinition[Any]]
    __own_handlers__: ClassVar[dict[str, Handler]] = {}
    __id_form__: ClassVar[IdForm | None] = None

    def __init_subclass__(
        cls,
        *,
        name: str | None = None,
        abstract: bool = False,
        ids: Ids | None = None,
        state_revision: int = 1,
        **arguments: Any,
    ) -> None:
        super().__init_subclass__(**arguments)
        if ids is not None:
            cls.__id_form__ = id_form(f"aggregate {name_of(cls)}", ids)
        scope = scope_of(cls, sys._getframe(1))
        cls.__own_handlers__ = _own_handlers(cls, scope)
        _check_fields(cls)
        try:
            dataclasses.dataclass(kw_only=True)(cls)
        except (TypeError, ValueError) as error:
            _check_defaults(cls)
            raise DefinitionError(f"aggregate {name_of(cls)} cannot become a dataclass: {error}") from error
        _check_defaults(cls)
        setattr(cls, FIELD_TYPES, _own_field_types(cls, scope))
        if abstract:
            if name is not None:
                raise DefinitionError(
                    f"aggregate {name_of(cls)} is abstract and never reaches the log: leave out its name"
                )
            return
        if name is None:
            raise DefinitionError(
                f'aggregate {name_of(cls)} has no name: write class {cls.__name__}(…, name="…"), the name it keeps in the '
                "log for ever, or abstract=True for a base of other aggregates"
            )
        check_name(name, f"the name of aggregate {name_of(cls)},")
        if not isinstance(state_revision, int) or isinstance(state_revision, bool) or state_revision < 1:
            raise DefinitionError(
                f"aggregate {name_of(cls)} has state_revision={state_revision!r}: give a whole number from 1 upwards"
            )
        cls.__definition__ = define(cls, name, _all_handlers(cls, scope), state_revision, cls.__id_form__)
        _check_union(cls, scope)
        check_creates(cls.__definition__)


def _own_handlers(cls: type, scope: Scope) -> dict[str, Handler]:
    found: dict[str, Handler] = {}
    for name, attribute in vars(cls).items():
        mark = mark_of(name, attribute)
        if mark is not None:
            found[name] = read_handler(cls, name, attribute, mark, scope)
    return found


def _handlers_of(base: type, scope: Scope) -> dict[str, Handler]:
    if issubclass(base, Aggregate):
        return base.__own_handlers__
    mixin = scope_of(base, None)
    return _own_handlers(base, Scope(mixin.globals, {**scope.locals, **mixin.locals}))


def _all_handlers(cls: type, scope: Scope) -> Iterator[Handler]:
    """Own and inherited handlers, each method name once, in the order of definition, bases first."""
    by_class = {base: _handlers_of(base, scope) for base in cls.__mro__}
    names = dict.fromkeys(name for base in reversed(cls.__mro__) for name in by_class[base])
    for name in names:
        owner = next(base for base in cls.__mro__ if name in vars(base))
        handler = by_class[owner].get(name)
        if handler is None:
            raise DefinitionError(
                f"{name_of(owner)}.{name} replaces a method that handles a message, and is not marked: put the decorator above "
                "it too"
            )
        yield handler


def _check_fields(cls: type) -> None:
    for base in cls.__mro__:
        for field in annotations_of(base):
            attribute = inspect.getattr_static(cls, field, None)
            if inspect.isroutine(attribute) or isinstance(attribute, classmethod | staticmethod | property):
                raise DefinitionError(
                    f"{name_of(cls)}.{field} is a field and a method, and the method would become the field's default: rename "
                    "one of them"
                )


def _check_defaults(cls: type) -> None:
    """Refuses what `dataclasses` refuses too, and `Field` of pydantic, which it takes for the default itself."""
    is_made = "__dataclass_fields__" in vars(cls)
    for field in [made.name for made in dataclasses.fields(cls)] if is_made else annotations_of(cls):
        default = inspect.getattr_static(cls, field, None)
        if isinstance(default, dataclasses.Field):
            default = default.default
        where = f"{name_of(cls)}.{field}"
        if isinstance(default, FieldInfo):
            if default.default_factory is None:
                mend = "the default itself, or none"
            else:
                name = getattr(default.default_factory, "__name__", "")
                mend = f"dataclasses.field(default_factory={name if name.isidentifier() else '…'})"
            raise DefinitionError(
                f"{where} has pydantic's Field as its default, and an aggregate is a dataclass: write {mend}"
            )
        if isinstance(default, list | dict | set):
            raise DefinitionError(
                f"{where} has a default that all aggregates would share: write dataclasses.field(default_factory="
                f"{type(default).__name__})"
            )


def _own_field_types(cls: type, scope: Scope) -> dict[str, Any]:
    """The types of the fields that `cls` itself adds; those that cannot be told yet are left out."""
    fields = {field.name for field in dataclasses.fields(cls)}
    found: dict[str, Any] = {}
    for name, annotation in annotations_of(cls).items():
        if name in fields:
            with contextlib.suppress(DefinitionError):
                found[name] = resolve(annotation, scope, f"{name_of(cls)}.{name}")
    return found


def _check_union(cls: type[Aggregate[Any]], scope: Scope) -> None:
    """`Aggregate[…]` must name exactly the commands that the class handles: what the client may send rests on it."""
    argument = _argument(cls)
    if argument is None or isinstance(argument, TypeVar) or argument is Command:
        return
    where = f"aggregate {name_of(cls)}"
    named = set(alternatives(resolve(argument, scope, where)))
    handled = set(cls.__definition__.commands.values())
    if Command in named:
        return
    for command in sorted(named - handled, key=str):
        raise DefinitionError(
            f"{where}: Aggregate[…] names {name_of(command)}, and no method takes it: add one with @decides"
        )
    for command in sorted(handled - named, key=str):
        raise DefinitionError(
            f"{where} handles {name_of(command)}, and Aggregate[…] does not name it: add it to the union, or a type "
            "checker will refuse to send it"
        )


def _argument(cls: Any) -> Any:
    """What stands in `Aggregate[…]` among the bases of `cls`, type variables of generic bases filled in."""
    for base in get_original_bases(cls):
        origin, arguments = get_origin(base), get_args(base)
        if origin is Aggregate:
            return arguments[0]
        if (
            isinstance(origin or base, type)
            and issubclass(origin or base, Aggregate)
            and (origin or base) is not Aggregate
        ):
            argument = _argument(origin or base)
            filled = dict(zip(getattr(origin, "__parameters__", ()), arguments, strict=False))
            return filled.get(argument, argument) if isinstance(argument, TypeVar) else argument
    return None
