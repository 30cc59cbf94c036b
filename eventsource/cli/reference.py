"""The reference page of the settings, written from the models themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from eventsource.settings import Settings, setting_variables

_HEAD: Final = """\
# Settings

Written by `eventsource config reference` from `eventsource/settings.py`; `make format` writes it anew.

Each setting is an environment variable, or a line `NAME=value` in a file `.env` in the folder where the command runs. The
environment goes before the file. While `eventsource dev` runs, its servers are found by every app and command that runs in the
same folder: they are named in `.eventsource/dev.env`, and the other two go before that.

`eventsource config show` prints what is in force and where it comes from. A variable that begins with `EVENTSOURCE_` and is no
setting is refused, and so is a wrong value: the error names the variable, never its value. Passwords and keys are replaced in
every repr, log and dump.

Three more variables are read by the [command line](cli.md) alone: `EVENTSOURCE_APP` (the app, as `MODULE:APP`, where none is
named), `EVENTSOURCE_LOG_LEVEL` (`debug`, `info`, `warning`, `error` or `critical`) and `EVENTSOURCE_LOG_FORMAT` (what stderr
holds: `text`, `json`, or by default `auto`, which is text on a terminal and JSON elsewhere).
"""
_TYPES: Final = {str: "text", Path: "path", int: "integer", float: "number", bool: "true or false"}


def settings_reference() -> str:
    """All settings in Markdown: one section for each part, one row for each variable."""
    return _HEAD + "".join(_sections())


@dataclass(frozen=True, slots=True)
class SettingRow:
    """A setting as the reference describes it, in Markdown."""

    variable: str
    type: str
    default: str
    description: str


def settings_rows() -> list[SettingRow]:
    """Every setting there is."""
    return [_row(variable, location) for variable, location in setting_variables().items()]


def _row(variable: str, location: tuple[str, ...]) -> SettingRow:
    field = _field(location)
    suffix = "__NAME" if field.annotation == dict[str, str] else ""
    return SettingRow(f"{variable}{suffix}", _type(field), _default(field), field.description or "")


def _sections() -> Iterator[str]:
    parts: dict[tuple[str, ...], list[str]] = {}
    for variable, location in setting_variables().items():
        row = _row(variable, location)
        parts.setdefault(location[:-1], []).append(
            f"| `{row.variable}` | {row.type} | {row.default} | {row.description} |\n"
        )
    for location, rows in parts.items():
        yield f"\n## {_title(location)}\n\n| variable | type | default | what it does |\n|---|---|---|---|\n{''.join(rows)}"


def _model(location: tuple[str, ...]) -> type[BaseModel]:
    model: type[BaseModel] = Settings
    for name in location:
        annotation = model.model_fields[name].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            raise TypeError(f"setting {name} is not a section: give it a model")
        model = annotation
    return model


def _field(location: tuple[str, ...]) -> FieldInfo:
    return _model(location[:-1]).model_fields[location[-1]]


def _title(location: tuple[str, ...]) -> str:
    if not location:
        return "Everywhere"
    return (_model(location).__doc__ or location[-1]).strip().rstrip(".")


def _type(field: FieldInfo) -> str:
    annotation: Any = field.annotation
    if annotation == dict[str, str]:
        return "text"
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(annotation))
    for member in get_args(annotation) or (annotation,):
        if member in _TYPES:
            return _TYPES[member] + _bounds(field)
    raise TypeError(f"no words for a setting of type {annotation}: add them to _TYPES")


def _bounds(field: FieldInfo) -> str:
    words = []
    for constraint in field.metadata:
        for name, word in (("gt", "above"), ("ge", "at least"), ("le", "at most")):
            value = getattr(constraint, name, None)
            if value is not None:
                words.append(f"{word} {value:,}")
    return f", {', '.join(words)}" if words else ""


def _default(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    return f"`{default}`" if default not in (None, "", {}) else "none"
