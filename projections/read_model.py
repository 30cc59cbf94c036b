"""Read models: SQLAlchemy mapped dataclasses whose tables live in the app's Postgres schema."""

from __future__ import annotations

import re
import sys
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum as PythonEnum
from types import UnionType
from typing import Annotated, Any, ClassVar, Final, ForwardRef, Union, dataclass_transform, get_args, get_origin
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    Date,
    DateTime,
    Double,
    Enum,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    Table,
    Text,
    Time,
    Uuid,
    orm,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import ArgumentError, InvalidRequestError
from sqlalchemy.orm import Mapped, mapped_column, registry, relationship
from sqlalchemy.orm.exc import MappedAnnotationError
from sqlalchemy.types import TypeEngine
from typing_extensions import TypeAliasType

from eventsource.domain.annotations import Scope, annotations_of, resolve, scope_of
from eventsource.errors import DefinitionError

RESERVED_PREFIX: Final = "eventsource_"
_CLASS_VARIABLE: Final = re.compile(r"\s*(\w+\.)?ClassVar\b")  # as dataclasses tells them from fields
MAX_IDENTIFIER_BYTES: Final = 63  # what Postgres takes of a name; it cuts the rest off in silence
_ENUM_LENGTH: Final = 255  # of the text column: constant, so that a longer member does not change the table's shape

_JSON: Final = JSONB(none_as_null=True)

# Exact and unconstrained: NUMERIC keeps every digit, timestamptz the instant, TEXT and BIGINT need no migration to grow.
_EXACT_TYPES: Final[dict[Any, TypeEngine[Any]]] = {
    str: Text(),
    int: BigInteger(),
    bool: Boolean(),
    float: Double(),
    Decimal: Numeric(asdecimal=True),
    datetime: DateTime(timezone=True),
    date: Date(),
    time: Time(),
    timedelta: Interval(),
    bytes: LargeBinary(),
    UUID: Uuid(),
    dict: _JSON,
    list: _JSON,
}


@dataclass_transform(kw_only_default=True, field_specifiers=(mapped_column, relationship))
class ReadModel:
    """The base of read models: each subclass is a dataclass with keyword arguments, and a table of its own.

        class Balance(ReadModel):
            __tablename__ = "balances"
            account_id: Mapped[str] = mapped_column(primary_key=True)
            balance: Mapped[Decimal] = mapped_column(default=Decimal("0.00"))

    Types are exact unless `mapped_column` says otherwise: Decimal is an unconstrained NUMERIC, datetime a timestamptz, str
    TEXT, int BIGINT, bytes BYTEA, an Enum its members' names as text, dict and list JSONB. Every class has its own
    SQLAlchemy registry and metadata, so that two apps, or two tests, may use one table name; a relationship to another
    read model therefore names the class itself (`relationship(lambda: Other, primaryjoin=…, viewonly=True)`), not a string.
    Raises `DefinitionError` for a class that cannot be a read model.
    """

    __table__: ClassVar[Table]
    __tablename__: ClassVar[str]

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        found = _resolve_columns(cls, scope_of(cls, sys._getframe(1)))
        if cls.__dict__.get("__abstract__", False):
            # SQLAlchemy 2.1 wants the bases of a mapped dataclass to be dataclasses too; 2.0 has no such function.
            share = getattr(orm, "unmapped_dataclass", None)
            if share is not None:
                share(kw_only=True)(cls)
            return
        _check_class(cls)
        try:
            registry(metadata=MetaData(), type_annotation_map=_type_map(found)).mapped_as_dataclass(kw_only=True)(cls)
        except (ArgumentError, InvalidRequestError, MappedAnnotationError, NameError, TypeError) as error:
            if "primary key" in str(error):
                raise DefinitionError(
                    f"{cls.__qualname__} has no primary key: mark the column that finds a row with mapped_column(primary_key=True)"
                ) from error
            raise DefinitionError(f"{cls.__qualname__} cannot be a read model: {_first_sentence(error)}") from error
        _check_columns(cls)


def _check_class(cls: type[ReadModel]) -> None:
    where = cls.__qualname__
    for base in cls.__mro__[1:]:
        if base is not ReadModel and "__table__" in vars(base):
            raise DefinitionError(
                f"{where} inherits from the read model {base.__qualname__}: put what they share into a base with `__abstract__ = True`"
            )
    table = cls.__dict__.get("__tablename__")
    if not isinstance(table, str) or not table:
        raise DefinitionError(f'{where} has no table: give it `__tablename__ = "…"`')
    if table.startswith(RESERVED_PREFIX):
        raise DefinitionError(
            f"{where}: table names that begin with {RESERVED_PREFIX!r} are the framework's own: rename {table!r}"
        )


def _resolve_columns(cls: type[ReadModel], scope: Scope) -> list[Any]:
    """Evaluates the postponed annotations, those of classes inside functions too, and returns what stands in `Mapped[…]`."""
    found: list[Any] = []
    for owner in cls.__mro__:
        if owner is ReadModel or not issubclass(owner, ReadModel):
            continue
        resolved: dict[str, Any] = {}
        for name, annotation in annotations_of(owner).items():
            if isinstance(annotation, str) and _CLASS_VARIABLE.match(annotation):
                continue
            if isinstance(annotation, str | ForwardRef):
                annotation = resolve(annotation, scope, f"{owner.__qualname__}.{name}")  # noqa: PLW2901 - the same, evaluated
            resolved[name] = annotation
            origin = get_origin(annotation)
            if isinstance(origin, type) and issubclass(origin, Mapped):
                found.extend(get_args(annotation))
            elif origin is not ClassVar and annotation is not ClassVar:
                raise DefinitionError(
                    f"{owner.__qualname__}.{name} is annotated with {annotation!r}, which is no column: write Mapped[…], or ClassVar[…] "
                    "for what is not stored"
                )
        if resolved:
            owner.__annotations__ = resolved
    return found


def _type_map(mapped: list[Any]) -> dict[Any, TypeEngine[Any]]:
    types = dict(_EXACT_TYPES)
    for annotation in mapped:
        for member in _members(annotation):
            if get_origin(member) in (dict, list):
                types[member] = _JSON
            elif isinstance(member, type) and issubclass(member, PythonEnum):
                types[member] = Enum(member, native_enum=False, create_constraint=False, length=_ENUM_LENGTH)
    return types


def _members(annotation: Any) -> list[Any]:
    if isinstance(annotation, TypeAliasType):
        return _members(annotation.__value__)
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [member for argument in get_args(annotation) for member in _members(argument)]
    return [annotation]


def _check_columns(cls: type[ReadModel]) -> None:
    table = cls.__table__
    if table.schema is not None:
        raise DefinitionError(
            f"{cls.__qualname__} names the schema {table.schema!r}: leave it out, the app's own schema is used"
        )
    for name in (table.name, *(column.name for column in table.columns)):
        if len(name.encode()) > MAX_IDENTIFIER_BYTES:
            raise DefinitionError(
                f"{cls.__qualname__}: the name {name!r} is longer than the {MAX_IDENTIFIER_BYTES} bytes that Postgres takes: shorten it"
            )
    for key in table.foreign_keys:
        if not key.target_fullname.startswith(f"{table.name}."):
            raise DefinitionError(
                f"{cls.__qualname__}.{key.parent.name} has a foreign key to {key.target_fullname}: every read model is written and rebuilt "
                "on its own, so leave the key out, and join the tables in queries"
            )
    for column in table.columns:
        if column.computed is not None or column.identity is not None:
            raise DefinitionError(
                f"{cls.__qualname__}.{column.name} is filled by the database, and a projection writes whole rows: make it a property of "
                "the class, or set it in a handler"
            )


def _first_sentence(error: Exception) -> str:
    # SQLAlchemy ends its messages with a link to its error pages
    return str(error).partition("\n")[0].partition("(Background on this error")[0].rstrip()
