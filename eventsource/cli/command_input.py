"""A command from JSON, in the form in which `eventsource.cli.values` prints messages."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final, NoReturn

from pydantic import BaseModel, ValidationError

from eventsource.domain import Aggregate, Command
from eventsource.domain.exact import model_shape
from eventsource.domain.shapes import (
    ArrayShape,
    DecimalShape,
    DictShape,
    EnumShape,
    Kind,
    ModelShape,
    Scalar,
    Shape,
    TupleShape,
    UnionShape,
)
from eventsource.errors import InvalidArgument, SettingsError

_STANDARD_ALPHABET: Final = str.maketrans("-_", "+/")
_FROM_ISO: Final[Mapping[Kind, Callable[[str], Any]]] = {
    Kind.DATE: date.fromisoformat,
    Kind.TIME: time.fromisoformat,
    Kind.DATETIME: datetime.fromisoformat,
    Kind.NAIVE_DATETIME: datetime.fromisoformat,
}
_CONTAINERS: Final = (dict, list)


def command_class(aggregate: type[Aggregate[Any]], name: str) -> type[Command]:
    """The command of that name. Raises `SettingsError` that names those which the aggregate takes."""
    commands = aggregate.__definition__.commands
    if name not in commands:
        known = ", ".join(sorted(commands)) or "none yet"
        raise SettingsError(f"{aggregate.__definition__.name} takes no command {name!r}: choose among {known}")
    return commands[name]


def command_from_json(cls: type[Command], text: str) -> Command:
    """The command that the JSON says. Raises `InvalidArgument` for text that is no JSON object, or has not the command's fields.

    Decimals are exact, written as numbers or as strings. No value is repeated in an error.
    """
    try:
        document = json.loads(
            text, parse_float=Decimal, parse_constant=_no_constant, object_pairs_hook=_without_repetition
        )
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"the fields of {cls.message_name} are no JSON: {error}: {_USAGE}") from None
    if not isinstance(document, dict):
        raise InvalidArgument(f"the fields of {cls.message_name} are no JSON object: {_USAGE}")
    return _model(cls, model_shape(cls), document)


_USAGE: Final = 'write {"field": value, …} in single quotes, or - to read it from standard input'


def _model(cls: type[Command], shape: ModelShape, document: dict[str, Any]) -> Command:
    try:
        return cls.model_validate(_from_json(shape, document), strict=False, by_alias=True, by_name=True)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or cls.message_name}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_input=False)
        )
        raise InvalidArgument(f"these are no fields of {cls.message_name}: {problems}: correct them") from None
    except _Unreadable as error:
        raise InvalidArgument(f"these are no fields of {cls.message_name}: {error}: correct them") from None


class _Unreadable(Exception):
    """Raised when a text is not what its field's type wants."""


def _from_json(shape: Shape, value: Any) -> Any:
    """The value with what JSON has no form for: bytes, floats, dicts with other keys. The rest is pydantic's to make."""
    match shape, value:
        case Scalar(kind=Kind.BYTES), str():
            return _bytes(value)
        case Scalar(kind=Kind.FLOAT), Decimal():
            return float(value)
        case Scalar(kind=kind), str() if kind in _FROM_ISO:
            return _time(kind, value)
        case DecimalShape(), str() if value == value.strip():
            return value
        case EnumShape(enum=enum), str():
            values = {member.value for member in enum if isinstance(member.value, str)}
            return value if value in values else enum.__members__.get(value, value)
        case EnumShape(), Decimal():
            return float(value)
        case ModelShape(fields=fields), dict():
            shapes = {name: field.shape for field in fields for name in (field.name, field.info.alias) if name}
            return {name: _from_json(shapes[name], item) if name in shapes else item for name, item in value.items()}
        case ArrayShape(item=item), list():
            return [_from_json(item, one) for one in value]
        case TupleShape(items=items), list() if len(items) == len(value):
            return tuple(_from_json(item, one) for item, one in zip(items, value, strict=True))
        case DictShape(), dict() | list():
            return _dict(shape, value)
        case UnionShape(members=members), _:
            return _union(members, value)
        case _:
            return value


def _dict(shape: DictShape, value: dict[str, Any] | list[Any]) -> Any:
    if isinstance(value, dict):
        return {_key(shape.key, key): _from_json(shape.value, item) for key, item in value.items()}
    if not all(isinstance(entry, dict) and entry.keys() == {"key", "value"} for entry in value):
        return value
    try:
        return {_hashable(_from_json(shape.key, one["key"])): _from_json(shape.value, one["value"]) for one in value}
    except TypeError:
        raise _Unreadable("an array of entries has a key that cannot be one") from None


def _key(shape: Shape, text: str) -> Any:
    """The key of an object: JSON has texts alone there."""
    members = shape.members if isinstance(shape, UnionShape) else (shape,)
    if any(member.python_type is str for member in members):
        return text
    try:
        plain = json.loads(text, parse_float=Decimal)
    except ValueError:
        plain = text
    if isinstance(plain, _CONTAINERS):
        plain = text
    takes_numbers = any(member.python_type in (int, float, bool, type(None)) for member in members)
    numbered = any(isinstance(member, EnumShape) and _has_value(member, plain) for member in members)
    return _from_json(shape, plain if takes_numbers or numbered else text)


def _has_value(shape: EnumShape, value: object) -> bool:
    return any(member.value == value and not isinstance(member.value, str) for member in shape.enum)


def _hashable(value: Any) -> Any:
    return tuple(_hashable(item) for item in value) if isinstance(value, list) else value


def _union(members: Sequence[Shape], value: Any) -> Any:
    if isinstance(value, str):
        texts = [member for member in members if not isinstance(member, _STRUCTURES)]
        strings = [member for member in texts if member.python_type not in (int, float, bool, type(None))]
        return _from_json(strings[0], value) if len(strings) == 1 else value
    if isinstance(value, Decimal):
        if any(member.python_type is float for member in members) and not any(
            isinstance(member, DecimalShape) for member in members
        ):
            return float(value)
        return value
    fitting = [member for member in members if isinstance(member, _STRUCTURES)]
    if isinstance(value, dict) and any(isinstance(member, ModelShape) for member in fitting):
        return _best_model([member for member in fitting if isinstance(member, ModelShape)], value)
    fitting = [member for member in fitting if not isinstance(member, ModelShape)]
    return _from_json(fitting[0], value) if len(fitting) == 1 and isinstance(value, _CONTAINERS) else value


_STRUCTURES: Final = (ModelShape, ArrayShape, TupleShape, DictShape)


def _best_model(shapes: Sequence[ModelShape], value: dict[str, Any]) -> Any:
    """The model of a union that takes the most of an object's fields; the object itself, for pydantic to refuse, if none does."""
    best: BaseModel | None = None
    for shape in shapes:
        try:
            made = shape.model.model_validate(_from_json(shape, value), by_alias=True, by_name=True)
        except (ValidationError, _Unreadable):
            continue
        if best is None or len(made.model_fields_set) > len(best.model_fields_set):
            best = made
    return value if best is None else best


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text.translate(_STANDARD_ALPHABET), validate=True)
    except (binascii.Error, ValueError):
        raise _Unreadable("a text of bytes is no base64") from None


def _time(kind: Kind, text: str) -> Any:
    try:
        return _FROM_ISO[kind](text)
    except ValueError:
        return text  # pydantic knows more forms, and says what is wrong


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f'{text} is no JSON, write "{text}" in quotes')


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return found
