"""The details of a rejection: typed in Python, JSON on the way."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, ClassVar, get_origin

import typing_extensions
from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

from eventsource.domain.alternatives import check_alternatives
from eventsource.domain.annotations import Scope, name_of, resolve
from eventsource.errors import DefinitionError, EventSourceError, UnresolvedReference


class _Details(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        ser_json_bytes="base64",
        val_json_bytes="base64",
        ser_json_inf_nan="strings",
        validate_default=True,
        protected_namespaces=(),
    )


class DetailFields:
    """A rejection's fields as a pydantic model: made with the class, or at first use if a type is defined only later."""

    def __init__(self, cls: type, scope: Scope) -> None:
        self._cls = cls
        self._scope: Scope | None = scope
        self._model: type[BaseModel] | None = None
        own = typing_extensions.get_annotations(cls, format=typing_extensions.Format.FORWARDREF)
        self._own = {name: annotation for name, annotation in own.items() if not _is_class_variable(annotation)}
        for name in self._own:
            if name.startswith("_") or hasattr(EventSourceError, name) or name in {"code", "details", "from_details"}:
                raise DefinitionError(f"rejection {name_of(cls)} has a field {name!r}, a name that is taken: rename it")
        with contextlib.suppress(UnresolvedReference):
            self._make()

    @property
    def model(self) -> type[BaseModel]:
        return self._model or self._make()

    @property
    def names(self) -> AbstractSet[str]:
        return self.model.model_fields.keys()

    def dump(self, values: Mapping[str, Any]) -> dict[str, Any]:
        known = {name: values[name] for name in self.names if name in values}
        details: dict[str, Any] = json.loads(self.model.model_construct(**known).model_dump_json(include=set(known)))
        return details

    def load(self, details: Mapping[str, Any]) -> dict[str, Any]:
        """The fields, typed; those of another version of the class, which do not fit today's types, as they came."""
        known = {name: value for name, value in details.items() if name in self.names}
        text = json.dumps(known)
        for strict in (True, False):  # strict first: else 1 may be taken for a time, where an enum of numbers is meant
            with contextlib.suppress(ValidationError):
                return dict(self.model.model_validate_json(text, strict=strict).__dict__)
        return dict(self.model.model_construct(**known).__dict__)

    def _make(self) -> type[BaseModel]:
        where = f"rejection {name_of(self._cls)}"
        fields: dict[str, Any] = {}
        if self._scope is not None:
            for name, annotation in self._own.items():
                fields[name] = (resolve(annotation, self._scope, where), vars(self._cls).get(name, ...))
        bases = tuple(vars(base)["_fields"].model for base in self._cls.__bases__ if "_fields" in vars(base))
        try:
            model: type[BaseModel] = create_model(
                self._cls.__name__, __base__=bases or _Details, __module__=self._cls.__module__, **fields
            )
        except (PydanticSchemaGenerationError, PydanticUserError) as error:
            raise DefinitionError(f"{where} has a field that JSON cannot hold: {error.message}") from error
        check_alternatives(model, where)
        self._model, self._scope = model, None
        return model


def _is_class_variable(annotation: Any) -> bool:
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__forward_arg__", None)
    if text is not None:
        return re.match(r"(\w+\.)?ClassVar\b", text) is not None
    return annotation is ClassVar or get_origin(annotation) is ClassVar
