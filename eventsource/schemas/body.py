"""Writing and reading a body: Avro's binary encoding, behind a prefix that is the caller's business."""

from __future__ import annotations

from eventsource.schemas.avro_schema import AvroSchema
from eventsource.schemas.flat_records import flat_reader, flat_writer
from eventsource.schemas.limits import Limits
from eventsource.schemas.loading import Loading
from eventsource.schemas.plans import RecordPlan
from eventsource.schemas.reading import generated_reader
from eventsource.schemas.reference import Read, Write, reference_reader, reference_writer
from eventsource.schemas.writing import generated_writer


def body_writer(schema: AvroSchema, prefix: bytes, limits: Limits) -> Write:
    """A function from an instance to `prefix` and its body. It raises `EncodeError`."""
    reference = reference_writer(schema.text.schema(), schema.dumping.dump, prefix, limits)
    write = flat_writer(schema, prefix, limits, reference) or generated_writer(schema, prefix, limits, reference)
    return write or reference


def body_reader(plan: RecordPlan, skip: int, limits: Limits) -> Read:
    """A function from `skip` bytes of prefix and a body, written by `plan.written`, to an instance. It raises `DecodeError`."""
    reference = reference_reader(plan.written, Loading(plan).load, skip, limits)
    read = flat_reader(plan, skip, limits, reference) or generated_reader(plan, skip, limits, reference)
    return read or reference
