"""Which aggregates can be written and read back exactly: the tree of shapes of a state, found in its fields' annotations.

A state is stricter than a message: nobody validates it, and one that was read must go on as the one that was written
would. So a Decimal keeps how it was written, a float field an int, a datetime the name of its zone; and it may hold
dataclasses.
"""

from __future__ import annotations

import dataclasses
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import pydantic
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from eventsource.domain.annotations import annotations_of, name_of, resolve, scope_of
from eventsource.domain.exact import Place, Walk
from eventsource.domain.nested_names import stored_aliases
from eventsource.domain.shapes import Kind, ModelShape, Scalar, Shape, UnionShape
from eventsource.errors import NoExactForm

FIELD_TYPES: Final = "__own_field_types__"
"""Where an aggregate class keeps the types of the fields that it adds: only its definition sees names inside a function."""

_DATETIMES: Final = (
    *(datetime, pydantic.AwareDatetime, pydantic.NaiveDatetime),
    *(pydantic.PastDatetime, pydantic.FutureDatetime),
)
_SLOTS_OF_PYTHON: Final = frozenset({"__dict__", "__weakref__"})


def state_shape(aggregate: type[Any]) -> ModelShape:
    """The shape of an aggregate's state and of everything below it.

    Raises:
        NoExactForm: a field's type cannot be written exactly; the text names class, field and mend.
        UnresolvedReference: an annotation names a class that is not defined yet.
    """
    walk = _StateWalk()
    root = walk.model(aggregate)
    walk.check_names()
    walk.check_items()
    return root


class _StateWalk(Walk):
    def model(self, model: type[Any]) -> ModelShape:
        if model in self._models or not dataclasses.is_dataclass(model):
            return super().model(model)
        _check_layout(model)
        shape = self._models[model] = ModelShape(model, stored_aliases(model))
        types = _field_types(model)
        shape.fields = tuple(
            self._field(model, field.name, _info(field, types[field.name])) for field in dataclasses.fields(model)
        )
        return shape

    def _class(self, cls: Any, metadata: tuple[Any, ...], place: Place) -> Shape:
        if cls is Decimal:
            return Scalar(Kind.DECIMAL_TEXT)
        if cls is float:
            return UnionShape((Scalar(Kind.FLOAT), Scalar(Kind.INTEGER)))
        if cls in _DATETIMES:
            return Scalar(Kind.ZONED_DATETIME)
        if isinstance(cls, type) and dataclasses.is_dataclass(cls):
            self._named.append((cls, place))
            return self.model(cls)
        return super()._class(cls, metadata, place)


def _info(field: dataclasses.Field[Any], annotation: Any) -> FieldInfo:
    if field.default_factory is not dataclasses.MISSING:
        return FieldInfo(annotation=annotation, default_factory=field.default_factory)
    default = PydanticUndefined if field.default is dataclasses.MISSING else field.default
    return FieldInfo(annotation=annotation, default=default)


def _field_types(cls: type[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        known = vars(base).get(FIELD_TYPES, {})
        for name, annotation in annotations_of(base).items():
            if name in known:
                found[name] = known[name]
            elif name in cls.__dataclass_fields__ and not _is_no_field(cls, name):
                found[name] = resolve(annotation, scope_of(base, None), f"{name_of(cls)}.{name}")
    return found


def _is_no_field(cls: type[Any], name: str) -> bool:
    return name not in {field.name for field in dataclasses.fields(cls)}


def _check_layout(cls: type[Any]) -> None:
    """Refuses a class whose instances hold more than their fields and `__dict__`."""
    try:
        object.__new__(cls)
    except TypeError as error:
        raise NoExactForm(
            f"{cls.__qualname__} holds more than its fields ({error}): let it inherit from plain classes only"
        ) from error
    fields = {field.name for field in dataclasses.fields(cls)}
    for base in cls.__mro__:
        slots = vars(base).get("__slots__", ())
        for slot in {slots} if isinstance(slots, str) else set(slots):
            if slot not in fields | _SLOTS_OF_PYTHON:
                raise NoExactForm(
                    f"{cls.__qualname__}.{slot}: a slot that is no field is not written: make it a field, or drop it"
                )
