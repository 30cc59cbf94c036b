"""Fields that take a datetime without a time zone, which means another instant on every machine: reported when a message is defined.

Such a value travels exactly, and a local time may be meant. So it is a warning, and no reader of the log is affected.
"""

from __future__ import annotations

import sys
import warnings
from datetime import datetime
from types import FrameType
from typing import Any, Final

import pydantic
from pydantic.fields import FieldInfo

from eventsource.domain.exact import Place, Walk
from eventsource.domain.shapes import FieldShape, Shape
from eventsource.errors import NaiveDatetimeWarning

_WITH_AND_WITHOUT_ZONE: Final = (datetime, pydantic.PastDatetime, pydantic.FutureDatetime)


def warn_of_naive_datetimes(message: type[pydantic.BaseModel], own: frozenset[str]) -> None:
    """Warns of the fields of `message`, and of models in it, whose annotation takes datetimes with and without a time zone.

    Only the message's fields in `own` are looked into: the others are those of its bases. All annotations must be complete.
    """
    walk = _Datetimes(message, own)
    walk.model(message)
    for place in walk.places:
        _warn(message, place)


class _Datetimes(Walk):
    """Finds the places below some fields of a message."""

    def __init__(self, message: type[pydantic.BaseModel], own: frozenset[str]) -> None:
        super().__init__()
        self._message = message
        self._own = own
        self._counts = False
        self.places: dict[Place, None] = {}

    def _field(self, model: type[Any], name: str, info: FieldInfo) -> FieldShape:
        if model is self._message:
            self._counts = name in self._own
        return super()._field(model, name, info)

    def _class(self, cls: Any, metadata: tuple[Any, ...], place: Place) -> Shape:
        if self._counts and cls in _WITH_AND_WITHOUT_ZONE:
            self.places[place] = None
        return super()._class(cls, metadata, place)


def _warn(message: type, place: Place) -> None:
    text = (
        f"{place.model.__qualname__}.{place.field} takes datetimes without a time zone, which mean another instant on every machine: "
        "annotate it as pydantic.AwareDatetime (what is in the log stays readable), as pydantic.NaiveDatetime if local times are "
        f"meant, or write class {message.__name__}(…, naive_datetimes=True) to allow both"
    )
    frame = _class_statement(message)
    if frame is None:
        warnings.warn(text, NaiveDatetimeWarning, stacklevel=2)
    else:
        warnings.warn_explicit(
            text,
            NaiveDatetimeWarning,
            frame.f_code.co_filename,
            frame.f_lineno,
            module=message.__module__,
            registry=frame.f_globals.setdefault("__warningregistry__", {}),
        )


def _class_statement(message: type) -> FrameType | None:
    """The frame that executes the class statement: pydantic has frames of its own in between."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__") != message.__module__:
        frame = frame.f_back
    return frame
