"""The state of aggregates to bytes and back: what is kept so that not every event need be read again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar

from eventsource.domain.aggregate import Aggregate
from eventsource.domain.fingerprint import default_fingerprints
from eventsource.domain.state_shapes import state_shape
from eventsource.errors import DecodeError
from eventsource.schemas.avro import avro_record_name, lower
from eventsource.schemas.avro_schema import AvroSchema
from eventsource.schemas.dumping import Dumping
from eventsource.schemas.limits import OWN_LIMITS, Limits
from eventsource.schemas.schema_text import SchemaText
from eventsource.schemas.single_object import SingleObjectCodec
from eventsource.schemas.store import SchemaStore

A = TypeVar("A", bound=Aggregate[Any])

_DEFAULT: Final = "__default_"


class StateCodec(SingleObjectCodec[A]):
    """Writes and reads the states of one aggregate class. Safe to share between threads.

    What comes back equals what went in, in value and types: a value that would not is refused with `EncodeError`, an
    attribute that is no field included. Two fields that hold one and the same list come back holding two. A field that was
    added since takes its default; one that was removed is dropped. Bytes are refused with `DecodeError` when a default
    has changed since: events read anew would make another state of them (`check_defaults=False` where that does not matter,
    since nothing is made of the state any more). Neither `__init__` nor `__post_init__` is run.

    Raises:
        NoExactForm: a field's type cannot be written exactly; the text names class, field and mend. Such an aggregate can
            only be kept in memory.
        UnresolvedReference: an annotation names a class that is not defined.
    """

    def __init__(
        self,
        aggregate_class: type[A],
        store: SchemaStore,
        *,
        check_defaults: bool = True,
        limits: Limits = OWN_LIMITS,
    ) -> None:
        self.aggregate_class = aggregate_class
        self._check_defaults = check_defaults
        super().__init__(state_schema(aggregate_class), store, limits)

    def check_written(self, schema: dict[str, Any]) -> None:
        if not self._check_defaults:
            return
        today = dict(_defaults(self.schema.text.schema()))
        for field, digest in _defaults(schema):
            if today.get(field, digest) != digest:
                raise DecodeError(
                    f"{self.schema.text.name}.{field}: its default is not the one that this state was made with: "
                    "make the state from its events again"
                )


def state_schema(aggregate_class: type[Aggregate[Any]]) -> AvroSchema:
    """The Avro schema of an aggregate's state: a record `state.{name}`.

    After the fields it has one of type null for every default, named `{field}__default_{fingerprint}`: it takes no byte, and
    tells states of before a default was changed.
    """
    shape = state_shape(aggregate_class)
    name = f"state.{aggregate_class.__definition__.name}"
    schema = lower(shape, name).schema
    defaults = default_fingerprints(aggregate_class)
    schema["fields"] += [{"name": f"{field}{_DEFAULT}{digest}", "type": "null"} for field, digest in defaults.items()]
    text = SchemaText.of(schema)
    dumping = Dumping(shape, text.schema(), exact_types=True)
    return AvroSchema(shape, text, schema, (avro_record_name(name),), dumping)


def _defaults(schema: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for field in schema["fields"]:
        name, found, digest = field["name"].rpartition(_DEFAULT)
        if found and field["type"] == "null":
            yield name, digest
