"""Values of any type as JSON: what `--json` prints, and what tables and lines for people show.

| value | JSON |
|---|---|
| None, bool, int, finite float, str | null, true or false, a number, a string |
| NaN and the infinities | the strings "NaN", "Infinity" and "-Infinity" |
| bytes | a string: base64 with the URL-safe alphabet and padding |
| Decimal, UUID | a string, exact |
| date, time, datetime | a string in ISO 8601; a datetime keeps its offset from UTC |
| timedelta | a string: an ISO 8601 duration |
| Enum | its value if that is one of the first row, else its name |
| list, tuple, set, frozenset | an array; that of a set is sorted |
| dict | an object; an array of {"key": …, "value": …} where keys have no text of their own, such as tuples |
| model, dataclass | an object of its fields |
| anything else | a string: what `str()` makes of it |
"""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time, timedelta
from enum import Enum
from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

_DEEPEST: Final = 200
_TOO_DEEP: Final = "…"
_NOT_PLAIN: Final = re.compile(r"[^\x20-\x7e\n]")


def json_form(value: object) -> Any:
    """The value as `json.dumps` takes it, by the table above. Fails for no value of any type, however it refers to itself."""
    return _form(value, 0)


def json_text(document: object, *, indent: int | None = None, encoding: str = "utf-8") -> str:
    """The document as JSON that cannot steer a terminal and can be written in `encoding`.

    Characters that are not printable, lone surrogates among them, are written as `\\u` escapes.
    """
    form = json_form(document)
    text = json.dumps(form, indent=indent, ensure_ascii=False, allow_nan=False)
    if _NOT_PLAIN.search(text) is None:
        return text
    text = _NOT_PLAIN.sub(_escaped, text)
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return json.dumps(form, indent=indent, ensure_ascii=True, allow_nan=False)
    return text


def plain_text(value: object) -> str:
    """The value in one line for people: its JSON, without the quotes of a string. Not yet safe for a terminal."""
    form = json_form(value)
    if form is None:
        return ""
    return form if isinstance(form, str) else json.dumps(form, ensure_ascii=False, allow_nan=False)


def _form(value: object, depth: int) -> Any:
    if depth > _DEEPEST:
        return _TOO_DEEP
    if value is None or value is True or value is False or type(value) is str:
        return value
    try:
        return _form_by_class(value, depth)
    except Exception:  # noqa: BLE001  a state may hold anything, and none of it keeps the rest from being shown
        return f"<{type(value).__name__}>"


def _form_by_class(value: object, depth: int) -> Any:
    if isinstance(value, Enum):
        member = _form(value.value, depth + 1)
        return member if member is None or isinstance(value.value, str | int | float) else value.name
    if isinstance(value, BaseModel):
        own = vars(value)
        return {name: _form(own[name], depth + 1) for name in type(value).model_fields if name in own}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = (field.name for field in dataclasses.fields(value))
        return {name: _form(getattr(value, name), depth + 1) for name in fields if hasattr(value, name)}
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.urlsafe_b64encode(bytes(value)).decode()
    if isinstance(value, Mapping):
        return _mapping(value.items(), depth)
    if isinstance(value, AbstractSet):
        return sorted((_form(item, depth + 1) for item in value), key=json.dumps)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_form(item, depth + 1) for item in value]
    return _scalar(value)


def _scalar(value: object) -> Any:
    match value:
        case str():
            return str.__str__(value)
        case int():
            return _integer(int(value))
        case float():
            return _float(float(value))
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return to_jsonable_python(value)
        case _:
            return str.__str__(str(value))


def _integer(value: int) -> int | str:
    try:
        str(value)
    except ValueError:  # Python writes no more than some 4,300 digits
        return hex(value)
    return value


def _float(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _mapping(items: Iterable[tuple[object, object]], depth: int) -> Any:
    entries = [(_form(key, depth + 1), _form(value, depth + 1)) for key, value in items]
    if all(not isinstance(key, dict | list) for key, _ in entries):
        named = {key if isinstance(key, str) else json.dumps(key): value for key, value in entries}
        if len(named) == len(entries):  # else 1 and "1" are keys of one dict
            return named
    return [{"key": key, "value": value} for key, value in entries]


def _escaped(match: re.Match[str]) -> str:
    return match[0] if match[0].isprintable() else json.dumps(match[0])[1:-1]
