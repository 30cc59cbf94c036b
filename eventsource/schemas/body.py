"""Writing and reading a body: Avro's binary encoding, behind a prefix that is the caller's business."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from eventsource.schemas.avro_schema import AvroSchema
from eventsource.schemas.budget import Budget
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
    budget = Budget(schema.text.schema(), len(prefix), limits)
    if budget.safe_bytes >= limits.body_bytes:
        return (
            flat_writer(schema, prefix, limits, reference)
            or generated_writer(schema, prefix, limits, reference)
            or reference
        )
    large = _Later(lambda: generated_writer(schema, prefix, limits, reference) or reference)

    def measured(instance: Any) -> bytes:
        value: bytes = large(instance)
        budget.check_written(value)
        return value

    small = replace(limits, body_bytes=budget.safe_bytes)
    return flat_writer(schema, prefix, small, measured) or generated_writer(schema, prefix, small, measured) or measured


def body_reader(plan: RecordPlan, skip: int, limits: Limits) -> Read:
    """A function from `skip` bytes of prefix and a body, written by `plan.written`, to an instance. It raises `DecodeError`."""
    reference = reference_reader(plan.written, Loading(plan).load, skip, limits)
    budget = Budget(plan.written, skip, limits)
    if budget.safe_bytes >= limits.body_bytes:
        return (
            flat_reader(plan, skip, limits, reference) or generated_reader(plan, skip, limits, reference) or reference
        )
    large = _Later(lambda: generated_reader(plan, skip, limits, reference) or reference)

    def measured(value: bytes) -> Any:
        if len(value) <= limits.body_bytes:  # else it is refused as it is
            budget.check_read(value)
        return large(value)

    small = replace(limits, body_bytes=budget.safe_bytes)
    return flat_reader(plan, skip, small, measured) or generated_reader(plan, skip, small, measured) or measured


class _Later:
    """A function that is made when it is called first. Two threads may both make it: either will do."""

    def __init__(self, make: Callable[[], Callable[[Any], Any]]) -> None:
        self._make = make
        self._made: Callable[[Any], Any] | None = None

    def __call__(self, argument: Any) -> Any:
        made = self._made
        if made is None:
            made = self._made = self._make()
        return made(argument)
