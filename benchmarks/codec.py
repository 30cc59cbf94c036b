"""What a message costs to write and to read: `python -m benchmarks.codec [--json]`.

Five fields, two of them Decimal and one a datetime; beside it fastavro with logical types on the same schema, from and to
plain dicts. With `--json` the last line of stdout is one object; all figures are microseconds per message.
"""

from __future__ import annotations

import argparse
import io
import json
import time
import timeit
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

import fastavro
from pydantic import BaseModel, ConfigDict, Field

from eventsource.schemas import MemorySchemaStore, MessageCodec

Money = Annotated[Decimal, Field(max_digits=18, decimal_places=2)]


class Transferred(BaseModel):
    model_config = ConfigDict(frozen=True)

    target: str
    amount: Money
    fee: Money
    at: datetime
    number: int


class Grown(BaseModel):
    """The same message after a field was added: what an old event costs."""

    model_config = ConfigDict(frozen=True)

    target: str
    amount: Money
    fee: Money
    at: datetime
    number: int
    note: str | None = None


MESSAGE = Transferred(
    target="acc-4711",
    amount=Decimal("1234.56"),
    fee=Decimal("0.50"),
    at=datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=UTC),
    number=42,
)


def microseconds(function: Callable[[], object], *, number: int = 10_000, repeat: int = 7) -> float:
    """CPU time of the best of several runs, per call: what the others add is the machine's."""
    return round(min(timeit.repeat(function, timer=time.process_time, number=number, repeat=repeat)) / number * 1e6, 2)


def measure() -> dict[str, float]:
    store = MemorySchemaStore()
    codec = MessageCodec(Transferred, "transferred", store)
    value = codec.encode(MESSAGE)
    later = MessageCodec(Grown, "transferred", store)

    # fastavro's own types throughout: its timestamp keeps no offset, which is why ours is text
    standard = codec.schema.text.schema()
    standard["fields"][3]["type"] = {"type": "long", "logicalType": "timestamp-micros"}
    schema = fastavro.parse_schema(standard)
    record = MESSAGE.model_dump()

    def fastavro_encode() -> bytes:
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, schema, record)
        return buffer.getvalue()

    plain = fastavro_encode()
    return {
        "encode": microseconds(lambda: codec.encode(MESSAGE)),
        "decode": microseconds(lambda: codec.decode(value)),
        "decode_older_schema": microseconds(lambda: later.decode(value)),
        "fastavro_logical_types_encode": microseconds(fastavro_encode),
        "fastavro_logical_types_decode": microseconds(lambda: fastavro.schemaless_reader(io.BytesIO(plain), schema)),
        "pydantic_validate": microseconds(lambda: Transferred(**record)),
        "bytes": len(value),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the codec, in microseconds per message.")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    arguments = parser.parse_args()
    figures = measure()
    for name, figure in figures.items():
        print(f"{name:32} {figure:8g}{' µs' if name != 'bytes' else ''}")
    if arguments.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
