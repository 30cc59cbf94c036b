"""What a message and a state cost to write and to read: `python -m benchmarks.codec [--json]`.

Three subjects: a message of three fields (two str, an int), one of five (two of them Decimal, one a datetime), and an
aggregate's state of five. Beside each, in turns with it: the reference codec (fastavro, and our conversions around it), which
generated code must equal byte for byte, and fastavro alone, from and to plain dicts, with logical types of its own.
Figures are microseconds of CPU time per instance, the best of several rounds; `…_to_fastavro` is how many times as long
fastavro alone takes in the same run.
"""

from __future__ import annotations

import argparse
import io
import time
import timeit
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Final

import fastavro
from pydantic import BaseModel, ConfigDict, Field

from benchmarks.output import finish
from eventsource.domain import Aggregate, Event, creates
from eventsource.schemas import AvroSchema, Limits, MemorySchemaStore, MessageCodec, StateCodec
from eventsource.schemas.loading import Loading
from eventsource.schemas.reference import reference_reader, reference_writer
from eventsource.schemas.resolution import resolve

Money = Annotated[Decimal, Field(max_digits=18, decimal_places=2)]
Function = Callable[[], object]

_ROUNDS: Final = 15
_CALLS: Final = 3_000
_PREFIX_BYTES: Final = 10


class Renamed(BaseModel):
    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    number: int


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


class Opened(Event, name="opened"):
    owner: str


class Account(Aggregate, name="account"):
    owner: str
    balance: Decimal = Decimal("0.00")
    opened_at: datetime | None = None
    transfers: int = 0
    labels: list[str] = field(default_factory=list)

    @creates
    @classmethod
    def on_opened(cls, event: Opened) -> Account:
        return cls(owner=event.owner)


AT: Final = datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=UTC)
RENAMED: Final = Renamed(id="acc-4711", name="Ada Lovelace", number=42)
TRANSFERRED: Final = Transferred(target="acc-4711", amount=Decimal("1234.56"), fee=Decimal("0.50"), at=AT, number=42)
ACCOUNT: Final = Account(
    owner="Ada Lovelace", balance=Decimal("1234.56"), opened_at=AT, transfers=42, labels=["private", "old"]
)


@dataclass(frozen=True, slots=True)
class Subject:
    """An instance, the codec that is measured, and the record and standard schema that fastavro takes for it."""

    name: str
    instance: Any
    codec: Any
    record: Mapping[str, Any]
    standard: dict[str, Any]

    def functions(self) -> dict[str, Function]:
        value = self.codec.encode(self.instance)
        write, read = reference(self.codec.schema, value[:_PREFIX_BYTES])
        encode, decode = fastavro_alone(self.standard, self.record)
        return {
            f"{self.name}_encode_us": lambda: self.codec.encode(self.instance),
            f"{self.name}_decode_us": lambda: self.codec.decode(value),
            f"{self.name}_encode_reference_us": lambda: write(self.instance),
            f"{self.name}_decode_reference_us": lambda: read(value),
            f"{self.name}_encode_fastavro_us": encode,
            f"{self.name}_decode_fastavro_us": decode,
        }


def reference(schema: AvroSchema, prefix: bytes) -> tuple[Callable[[Any], bytes], Callable[[bytes], Any]]:
    """The reference writer and reader of a schema."""
    text = schema.text.schema()
    load = Loading(resolve(schema.shape, text, schema.names)).load
    return (
        reference_writer(text, schema.dumping.dump, prefix, Limits()),
        reference_reader(text, load, len(prefix), Limits()),
    )


def fastavro_alone(standard: dict[str, Any], record: Mapping[str, Any]) -> tuple[Function, Function]:
    """What fastavro takes for the same values."""
    schema = fastavro.parse_schema(standard)

    def encode() -> bytes:
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, schema, record)
        return buffer.getvalue()

    value = encode()
    return encode, lambda: fastavro.schemaless_reader(io.BytesIO(value), schema)


def standard_schema(codec: Any) -> dict[str, Any]:
    """The schema with logical types that fastavro knows: its timestamp keeps no offset, which is why ours is text."""
    schema: dict[str, Any] = codec.schema.text.schema()
    decimal = {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2}
    timestamp = {"type": "long", "logicalType": "timestamp-micros"}
    known: dict[str, Any] = {"iso-datetime": timestamp, "zoned-datetime": timestamp, "decimal-text": decimal}

    def replaced(written: Any) -> Any:
        if isinstance(written, list):
            return [replaced(branch) for branch in written]
        return known.get(written.get("logicalType", ""), written) if isinstance(written, dict) else written

    for written in schema["fields"]:
        written["type"] = replaced(written["type"])
    return schema


def subjects(store: MemorySchemaStore) -> list[Subject]:
    renamed = MessageCodec(Renamed, "renamed", store)
    transferred = MessageCodec(Transferred, "transferred", store)
    account = StateCodec(Account, store)
    return [
        Subject("small", RENAMED, renamed, RENAMED.model_dump(), standard_schema(renamed)),
        Subject("money", TRANSFERRED, transferred, TRANSFERRED.model_dump(), standard_schema(transferred)),
        Subject("state", ACCOUNT, account, vars(ACCOUNT), standard_schema(account)),
    ]


def measure() -> dict[str, float]:
    store = MemorySchemaStore()
    functions: dict[str, Function] = {}
    found = subjects(store)
    for subject in found:
        functions |= subject.functions()
    old = found[1].codec.encode(TRANSFERRED)
    later = MessageCodec(Grown, "transferred", store)
    functions["money_decode_older_schema_us"] = lambda: later.decode(old)
    functions["money_pydantic_validate_us"] = lambda: Transferred(**found[1].record)
    # In turns, so that whatever else the machine does falls on all of them.
    timers = {name: timeit.Timer(function, timer=time.process_time) for name, function in functions.items()}
    best = dict.fromkeys(functions, float("inf"))
    for _ in range(_ROUNDS):
        for name, timer in timers.items():
            best[name] = min(best[name], timer.timeit(_CALLS) / _CALLS * 1e6)
    figures = dict(best)
    for subject in found:
        for step in ("encode", "decode"):
            ours = f"{subject.name}_{step}"
            figures[f"{ours}_to_fastavro"] = best[f"{ours}_fastavro_us"] / best[f"{ours}_us"]
        figures[f"{subject.name}_bytes"] = len(subject.codec.encode(subject.instance))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the codecs, in microseconds per instance.")
    parser.add_argument("--json", action="store_true", help="print nothing but one JSON object on stdout")
    arguments = parser.parse_args()
    finish(measure(), only_json=arguments.json)


if __name__ == "__main__":
    main()
