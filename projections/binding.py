"""Values on their way between rows and Postgres, a column at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Float

from projections.table import DIALECT
from projections.twin import TwinColumn, python_type_of

Convert = Callable[[Any], Any]
# Only numbers' processors ask which type came. https://www.postgresql.org/docs/current/catalog-pg-type.html
_FLOAT8_OID: Final = 701
_NUMERIC_OID: Final = 1700


class Binding:
    """How the values of some columns go to Postgres, and come back."""

    def __init__(self, columns: Sequence[TwinColumn]) -> None:
        binders = [_binder(column) for column in columns]
        self._binders = [(place, convert) for place, convert in enumerate(binders) if convert is not None]
        self._exact = [
            (place, column, type_)
            for place, column in enumerate(columns)
            if binders[place] is None and (type_ := python_type_of(column.column)) in _EXACT
        ]
        loaders = [_loader(column) for column in columns]
        self._loaders = [(place, convert) for place, convert in enumerate(loaders) if convert is not None]

    def to_columns(self, rows: Collection[tuple[Any, ...]]) -> list[list[Any]]:
        """One list per column. Raises `TypeError` for a value that its column cannot hold exactly."""
        columns = [list(column) for column in zip(*rows, strict=True)]
        for place, convert in self._binders:
            columns[place] = [convert(value) for value in columns[place]]
        for place, column, type_ in self._exact:
            # psycopg takes no list of mixed types, and an int among Decimals is no mistake
            if set(map(type, columns[place])) - {type_, type(None)}:
                columns[place] = [_exactly(value, type_, column) for value in columns[place]]
        return columns

    def from_row(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """The values of one row that was read."""
        if not self._loaders:
            return values
        changed = list(values)
        for place, convert in self._loaders:
            changed[place] = convert(changed[place])
        return tuple(changed)


_EXACT: Final[dict[type | None, tuple[type, ...]]] = {
    Decimal: (int,),
    float: (int,),
    int: (),
    str: (),
    bytes: (bytearray, memoryview),
}
"""Python types of columns, and what they take besides their own values and those of subclasses."""


def _exactly(value: Any, type_: Any, column: TwinColumn) -> Any:
    if value is None or value.__class__ is type_:
        return value
    if not isinstance(value, (type_, *_EXACT[type_])):
        raise TypeError(f"{column.attribute} is {type_.__name__}, and was set to {value!r}, a {type(value).__name__}")
    # str() of an enumeration's member may show its name; this is what it holds
    return str.__str__(value) if type_ is str else type_(value)


def _binder(column: TwinColumn) -> Convert | None:
    """What SQLAlchemy's type does to a value before psycopg gets it."""
    return column.column.type.dialect_impl(DIALECT).bind_processor(DIALECT)


def _loader(column: TwinColumn) -> Convert | None:
    """What SQLAlchemy's type does to a value that psycopg read."""
    type_ = column.column.type
    oid = _FLOAT8_OID if isinstance(getattr(type_, "impl_instance", type_), Float) else _NUMERIC_OID
    return type_.dialect_impl(DIALECT).result_processor(DIALECT, oid)
