"""A few bytes from a stranger: no worker over its budget and 300 MB, and no partition silent for over 15 s."""

from __future__ import annotations

import time
from typing import Any

import pytest

from eventsource.errors import EncodeError
from eventsource.log.headers import CommandHeaders, command_headers
from eventsource.schemas import MemorySchemaStore, MessageCodec
from eventsource.schemas.fingerprint import canonical_form, fingerprint
from tests.faults.attacked import Attacked, Box, Fill, Item, app
from tests.faults.rig import Rig

pytestmark = pytest.mark.faults

BOMBS = 60
ITEMS = 8_000_000


@pytest.fixture
def attacked(rig: Rig) -> Attacked:
    return Attacked(rig, rig.settings)


def record(name: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": key, "type": kind} for key, kind in fields.items()]}


def nested_references(count: int, kind: Any) -> bytes:
    """Each record refers to the one before twice; all of it in a record that bears the command's name."""
    inner: dict[str, Any] = {"r0": record("r0", {})}
    for number in range(1, count):
        inner[f"r{number}"] = record(f"r{number}", {"a": kind(f"r{number - 1}"), "b": kind(f"r{number - 1}")})
    fields = {**inner, "items": {"type": "array", "items": f"r{count - 1}"}}
    return canonical_form(record("fill", fields)).encode()


def varint(number: int) -> bytes:
    rest, found = number << 1, bytearray()
    while rest > 0x7F:
        found.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*found, rest])


def command(number: int, value: bytes, key: bytes) -> tuple[bytes, bytes, Any]:
    return (
        key,
        value,
        list(command_headers(CommandHeaders(f"attack-{number}", "fill", "/stranger", int(time.time() * 1_000)))),
    )


def test_a_schema_of_a_few_kilobytes_holds_nobody_up(attacked: Attacked) -> None:
    texts = [
        nested_references(100, lambda name: name),
        nested_references(80, lambda name: ["null", name]),
        b'{"name":"fill","type":"record","fields":[{"name":"'
        + b"]" * 3_000
        + b'","type":'
        + b'{"type":"array","items":' * 100,
    ]
    for text in texts:
        number = fingerprint(text.decode())
        attacked.produce(attacked.names.schemas, [(b"%016x" % number, text, None)])
        value = b"\xc3\x01" + number.to_bytes(8, "little") + bytes(20)
        keys = [id_.encode() for id_ in attacked.ids]
        attacked.produce(
            attacked.names.commands("box"), [command(number % 10**6 + i, value, key) for i, key in enumerate(keys)]
        )
    with app.connect(attacked.settings) as client:
        attacked.every_partition_answers(client)
        assert attacked.restart() < 30
        attacked.every_partition_answers(client)
    attacked.stays_within_memory()


def test_commands_that_are_eight_million_models_each_fail_alone(attacked: Attacked) -> None:
    codec = MessageCodec(Fill, "fill", MemorySchemaStore())
    empty = codec.encode(Fill())
    bomb = empty[:-1] + varint(ITEMS) + bytes(ITEMS) + b"\x00"
    with app.connect(attacked.settings) as client:
        attacked.every_partition_answers(client)  # which registers the schema
        keys = [id_.encode() for id_ in attacked.ids]
        assert attacked.worker.end() == 0  # so that all of them are there at once
        attacked.produce(
            attacked.names.commands("box"),
            [command(number, bomb, keys[number % len(keys)]) for number in range(BOMBS)],
            **{"compression.type": "zstd"},
        )
        attacked.worker = attacked.start()
        attacked.every_partition_answers(client)
        attacked.stays_within_memory()
        for id_ in attacked.ids:
            assert client.load(Box, id_).state.count == 2


def test_batches_that_nobody_can_unpack_are_passed_over(attacked: Attacked) -> None:
    with app.connect(attacked.settings) as client:
        attacked.every_partition_answers(client)
        keys = [id_.encode() for id_ in attacked.ids]
        assert attacked.worker.end() == 0
        attacked.produce(
            attacked.names.commands("box"),
            [command(number, bytes(120_000_000), keys[number]) for number in range(len(keys))],
            **{"compression.type": "zstd", "message.max.bytes": 150_000_000},
        )
        attacked.worker = attacked.start()
        for _ in range(2):
            attacked.every_partition_answers(client)
        attacked.stays_within_memory()


def test_a_client_cannot_send_what_no_owner_would_take(attacked: Attacked) -> None:
    with app.connect(attacked.settings) as client:
        with pytest.raises(EncodeError, match="divide it"):
            client.send(Box, attacked.ids[0], Fill.model_construct(items=[Item()] * 1_000_001))
        attacked.every_partition_answers(client)
