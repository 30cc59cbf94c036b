"""What is known of a class once and for all: its shapes, its Avro schema, its functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eventsource.domain.shapes import ModelShape
from eventsource.schemas.dumping import Dumping
from eventsource.schemas.schema_text import SchemaText


@dataclass(frozen=True, slots=True)
class AvroSchema:
    """A class in Avro.

    `text`: what is registered and hashed. `full`: the same with aliases and default values, for a schema registry or another
    language's reader. `names`: the record's full name, then those that it had before.
    """

    shape: ModelShape
    text: SchemaText
    full: dict[str, Any]
    names: tuple[str, ...]
    dumping: Dumping
