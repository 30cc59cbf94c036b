"""Which field types travel exactly, found by walking a pydantic model's annotations: a neutral tree of shapes.

The domain asks `check_exact_fields` when a message class is defined; `eventsource.schemas` turns the very same tree into
Avro, so the two can never disagree about what is exact. Pure introspection: no Avro, no I/O.
"""

from __future__ import annotations

import collections.abc
import re
import types
import typing
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, Flag
from typing import Annotated, Any, Final, ForwardRef, Literal, NewType, TypeVar, Union, get_args, get_origin

import pydantic
from pydantic.fields import FieldInfo
from typing_extensions import TypeAliasType, is_typeddict

from eventsource.domain.nested_names import stored_aliases
from eventsource.domain.shapes import (
    ArrayShape,
    DecimalShape,
    DictShape,
    EnumShape,
    FieldShape,
    Kind,
    ModelShape,
    Scalar,
    Shape,
    TupleShape,
    UnionShape,
    avro_name,
    takes_no_byte,
)
from eventsource.errors import NoExactForm, UnresolvedReference

_AVRO_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check_exact_fields(model: type[pydantic.BaseModel]) -> bool:
    """Raises `NoExactForm`, naming class, field and mend, if a field of `model` cannot travel exactly.

    Returns True when every field was checked; False when an annotation names a class that is not defined yet: ask again
    once it is (at the latest, the codec does).
    """
    try:
        model_shape(model)
    except UnresolvedReference:
        return False
    return True


def model_shape(model: type[pydantic.BaseModel]) -> ModelShape:
    """The shape of a model and of everything below it.

    Raises:
        NoExactForm: a field's type cannot travel exactly; the text names class, field and mend.
        UnresolvedReference: an annotation names a class that is not defined yet.
    """
    walk = Walk()
    root = walk.model(model)
    walk.check_names()
    walk.check_items()
    return root


# pydantic's own markers are classes at run time, whose values are the plain type's.
_SCALARS: Final[dict[Any, Kind]] = {
    None: Kind.NULL,
    **{kind.python_type: kind for kind in Kind if kind is not Kind.NAIVE_DATETIME and not kind.state_only},
    pydantic.NaiveDatetime: Kind.NAIVE_DATETIME,
    pydantic.AwareDatetime: Kind.DATETIME,
    pydantic.PastDatetime: Kind.DATETIME,
    pydantic.FutureDatetime: Kind.DATETIME,
    pydantic.PastDate: Kind.DATE,
    pydantic.FutureDate: Kind.DATE,
    pydantic.EmailStr: Kind.STRING,
}

# Python's own from 3.12 on, and the one that was there before.
_TYPE_ALIASES: Final = (TypeAliasType, getattr(typing, "TypeAliasType", TypeAliasType))

_DECIMAL_MEND = (
    "annotate it as Annotated[Decimal, Field(max_digits=18, decimal_places=2)], with the digits that it needs"
)
_MENDS: Final[dict[Any, str]] = {
    Any: "give the field the type that it holds",
    object: "give the field the type that it holds",
    pydantic.BaseModel: "name the models that it holds, as in Cat | Dog",
    pydantic.JsonValue: "hold the JSON text in a str",
    pydantic.ByteSize: "use int",
    bytearray: "use bytes",
    complex: "use a model with two float fields",
    list: "say what it holds, as in list[str]",
    tuple: "say what it holds, as in tuple[str, ...]",
    set: "say what it holds, as in set[str]",
    frozenset: "say what it holds, as in frozenset[str]",
    dict: "say what it holds, as in dict[str, int]",
    collections.abc.Sequence: "use list[...] or tuple[..., ...]: the field would keep whichever it was given",
    collections.abc.Iterable: "use list[...] or tuple[..., ...]",
    collections.abc.Set: "use frozenset[...] or set[...]: the field would keep whichever it was given",
    collections.abc.Mapping: "use dict[str, ...]",
    collections.abc.MutableMapping: "use dict[str, ...]",
    collections.OrderedDict: "use dict[str, ...]",
    collections.defaultdict: "use dict[str, ...]",
    collections.Counter: "use dict[str, int]",
    collections.deque: "use list[...]",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where the walk is: the class and field to name in an error."""

    model: type[Any]
    field: str

    def refuse(self, reason: str, mend: str) -> NoExactForm:
        return NoExactForm(f"{self.model.__qualname__}.{self.field}: {reason}: {mend}")


class Walk:
    """One walk over a model and everything below it."""

    def __init__(self) -> None:
        self._models: dict[type[Any], ModelShape] = {}
        self._named: list[tuple[type, Place]] = []
        self._arrays: list[tuple[Shape, Place]] = []

    # --- models ---------------------------------------------------------------------------------------------------

    def model(self, model: type[Any]) -> ModelShape:
        if model in self._models:
            return self._models[model]
        fields = _complete_fields(model)
        _check_config(model)
        shape = ModelShape(model, (*stored_aliases(model), *_aliases(model.model_config.get("json_schema_extra"))))
        self._models[model] = shape
        shape.fields = tuple(self._field(model, name, info) for name, info in fields.items())
        return shape

    def _field(self, model: type[Any], name: str, info: FieldInfo) -> FieldShape:
        place = Place(model, name)
        if not _AVRO_NAME.fullmatch(name):
            raise place.refuse(
                "its name is not ASCII letters, digits and underscores", "rename it, with alias= for the old name"
            )
        shape = self._annotation(info.annotation, tuple(info.metadata), place, frozenset())
        return FieldShape(name, _default_first(shape, info.default), info, _aliases(info.json_schema_extra))

    # --- annotations ----------------------------------------------------------------------------------------------

    def _annotation(self, annotation: Any, metadata: tuple[Any, ...], place: Place, seen: frozenset[Any]) -> Shape:
        """`metadata`: the constraints met on the way down; `seen`: the type aliases that are being unfolded."""
        if isinstance(annotation, (str, ForwardRef)) and seen:
            raise place.refuse(
                f"the type alias {next(iter(seen))} holds a name in quotes",
                "write it out, or use a model if it refers to itself",
            )
        if isinstance(annotation, (str, ForwardRef)):
            raise UnresolvedReference(
                f"{place.model.__qualname__}.{place.field}: {annotation!r} names a class that is not defined: "
                "define it before the message is used"
            )
        if isinstance(annotation, TypeVar):
            raise place.refuse(
                f"the type variable {annotation} stands for no type", f"parametrise {place.model.__name__}"
            )
        origin = get_origin(annotation)
        if isinstance(annotation, _TYPE_ALIASES) or isinstance(origin, _TYPE_ALIASES):
            shape = self._alias(annotation, metadata, place, seen)
        elif isinstance(annotation, NewType):
            shape = self._annotation(annotation.__supertype__, metadata, place, seen)
        elif origin in (Annotated, Final):
            inner, *added = get_args(annotation)
            shape = self._annotation(inner, (*metadata, *added), place, seen)
        elif origin in (Union, types.UnionType):
            shape = self._union([self._annotation(a, metadata, place, seen) for a in get_args(annotation)], place)
        elif origin is Literal:
            shape = self._union([self._literal(value, place) for value in get_args(annotation)], place)
        elif origin is not None and not isinstance(annotation, type):
            shape = self._container(annotation, origin, place, seen)
        else:
            shape = self._class(annotation, metadata, place)
        return shape

    def _alias(self, annotation: Any, metadata: tuple[Any, ...], place: Place, seen: frozenset[Any]) -> Shape:
        if annotation in seen or annotation is pydantic.JsonValue:
            raise place.refuse(
                f"{annotation} refers to itself", _MENDS.get(annotation, "use a model, which may refer to itself")
            )
        value = annotation.__value__
        if (origin := get_origin(annotation)) is not None:
            value = origin.__value__[get_args(annotation)]
        return self._annotation(value, metadata, place, seen | {annotation})

    def _class(self, cls: Any, metadata: tuple[Any, ...], place: Place) -> Shape:
        if cls is Decimal:
            return _decimal(metadata, place)
        try:
            kind = _SCALARS.get(cls)
        except TypeError:  # unhashable: no type of ours
            kind = None
        if kind is not None:
            return Scalar(kind)
        if cls == tuple[()]:
            return TupleShape(())
        if isinstance(cls, type) and cls not in _MENDS:
            if issubclass(cls, pydantic.BaseModel):
                self._named.append((cls, place))
                return self.model(cls)
            if issubclass(cls, Enum):
                return self._enum(cls, place)
        raise place.refuse(f"{_spell(cls)} has no exact Avro form", _mend(cls))

    def _enum(self, enum: type[Enum], place: Place) -> EnumShape:
        if issubclass(enum, Flag):
            raise place.refuse(f"{enum.__name__} is a Flag, whose combinations have no name", "use set[...] of an Enum")
        if not len(enum):
            raise place.refuse(f"{enum.__name__} has no members", "give it one")
        for name in enum.__members__:
            if not _AVRO_NAME.fullmatch(name):
                raise place.refuse(
                    f"{enum.__name__}.{name} is not named in ASCII letters, digits and underscores", "rename the member"
                )
        if issubclass(place.model, pydantic.BaseModel) and place.model.model_config.get("use_enum_values"):
            raise place.refuse(
                "use_enum_values turns the member into its value", "drop use_enum_values from model_config"
            )
        self._named.append((enum, place))
        return EnumShape(enum)

    def _literal(self, value: object, place: Place) -> Shape:
        if isinstance(value, Enum):
            return self._enum(type(value), place)
        kind = _SCALARS.get(type(value))
        if kind is None:
            raise place.refuse(
                f"Literal[{value!r}] has no exact Avro form", "use str, int, bytes, bool or an Enum's members"
            )
        return Scalar(kind)

    def _container(self, annotation: Any, origin: Any, place: Place, seen: frozenset[Any]) -> Shape:
        arguments = get_args(annotation)

        def inner(index: int) -> Shape:
            return self._annotation(arguments[index], (), place, seen)

        if origin is list:
            return self._array(inner(0), list, place)
        if origin in (set, frozenset):
            item = inner(0)
            _check_hashable(item, annotation, place)
            return self._array(item, origin, place)
        if origin is tuple:
            if len(arguments) == 2 and arguments[1] is Ellipsis:
                return self._array(inner(0), tuple, place)
            return TupleShape(tuple(inner(index) for index in range(len(arguments))))
        if origin is dict:
            key, value = inner(0), inner(1)
            _check_hashable(key, annotation, place)
            shape = DictShape(key, value)
            if not shape.is_map:
                self._arrays.append((TupleShape((key, value)), place))
            return shape
        raise place.refuse(f"{_spell(annotation)} has no exact Avro form", _mend(origin))

    def _array(self, item: Shape, container: Any, place: Place) -> ArrayShape:
        self._arrays.append((item, place))
        return ArrayShape(item, container)

    def _union(self, members: list[Shape], place: Place) -> Shape:
        flat: list[Shape] = []
        for member in members:
            for shape in member.members if isinstance(member, UnionShape) else (member,):
                if shape not in flat:
                    flat.append(shape)
        for index, one in enumerate(flat):
            for other in flat[:index]:
                if one.branch == other.branch or one.python_type is other.python_type:
                    raise place.refuse(
                        f"{other.label} and {one.label} in one union cannot be told apart once written",
                        "keep one of them, or wrap each in a model of its own",
                    )
        return flat[0] if len(flat) == 1 else UnionShape(tuple(flat))

    # --- what only the whole tree shows -----------------------------------------------------------------------------

    def check_names(self) -> None:
        taken: dict[str, type] = {}
        for cls, place in self._named:
            name = avro_name(cls)
            if not _AVRO_NAME.fullmatch(name):
                raise place.refuse(
                    f"the class {cls.__name__} is not named in ASCII letters, digits and underscores",
                    "rename the class",
                )
            if taken.setdefault(name, cls) is not cls:
                raise place.refuse(
                    f"two classes named {name} travel in one message", "give one of them another name with @stored_as"
                )

    def check_items(self) -> None:
        # A few bytes could claim 2**40 items that take no byte each, so such arrays are never written.
        for item, place in self._arrays:
            if takes_no_byte(item, set()):
                raise place.refuse("its items hold nothing", "hold their count in an int, or give them a field")


def _default_first(shape: Shape, default: object) -> Shape:
    """Avro reads a field's default as the first member of its union."""
    if not isinstance(shape, UnionShape):
        return shape
    return UnionShape(tuple(sorted(shape.members, key=lambda member: member.python_type is not type(default))))


def _complete_fields(model: type[pydantic.BaseModel]) -> dict[str, FieldInfo]:
    if not model.__pydantic_complete__:
        model.model_rebuild(raise_errors=False)
    return model.model_fields


def _check_config(model: type[pydantic.BaseModel]) -> None:
    if model.model_config.get("extra") == "allow":
        raise NoExactForm(
            f"{model.__qualname__}: extra='allow' lets values in that have no field to travel in: "
            "drop it from model_config, and add a dict[str, str] field for what has no name yet"
        )
    for name in model.__private_attributes__:
        raise NoExactForm(
            f"{model.__qualname__}.{name}: a private attribute does not travel: make it a field or drop it"
        )


def _decimal(metadata: tuple[Any, ...], place: Place) -> DecimalShape:
    digits, places = _constraint(metadata, "max_digits"), _constraint(metadata, "decimal_places")
    if digits is None or places is None:
        raise place.refuse("a Decimal without max_digits and decimal_places has no exact Avro form", _DECIMAL_MEND)
    return DecimalShape(max(digits, places, 1), places)


def _constraint(metadata: tuple[Any, ...], name: str) -> int | None:
    found: int | None = None
    for item in metadata:
        inner = _constraint(tuple(item.metadata), name) if isinstance(item, FieldInfo) else getattr(item, name, None)
        if inner is not None:
            found = inner
    return found


def _check_hashable(shape: Shape, annotation: Any, place: Place) -> None:
    """Models as members or keys would need their hash before their fields are known to be hashable."""
    match shape:
        case Scalar() | DecimalShape() | EnumShape():
            return
        case TupleShape(items=items) | UnionShape(members=items):
            for item in items:
                _check_hashable(item, annotation, place)
        case _:
            raise place.refuse(
                f"{_spell(annotation)} keeps {shape.label} values by their hash", "use a list, or a scalar as key"
            )


def _aliases(extra: Any) -> tuple[str, ...]:
    names = extra.get("aliases", ()) if isinstance(extra, dict) else ()
    return (names,) if isinstance(names, str) else tuple(names)


def _mend(cls: Any) -> str:
    if cls in _MENDS:
        return _MENDS[cls]
    if is_typeddict(cls) or (
        isinstance(cls, type) and (issubclass(cls, tuple) or hasattr(cls, "__dataclass_fields__"))
    ):
        return "make it a pydantic model"
    return (
        "use str, int, float, bool, bytes, Decimal, datetime, date, time, timedelta, UUID, an Enum, or a pydantic model"
    )


def _spell(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) and not get_args(annotation) else str(annotation)
