"""Records of nobody's in every topic of an app: nothing crashes, hangs, starts late or grows."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from random import Random
from typing import Any, Final

import pytest

from eventsource.log.headers import CommandHeaders, command_headers
from eventsource.schemas import MemorySchemaStore, MessageCodec
from tests.faults.attacked import Attacked, Fill, Filled, Item, app
from tests.faults.rig import Rig

pytestmark = pytest.mark.faults

FEW: Final = 14 * 6 * 3
ALL: Final = 11_000
START_SECONDS: Final = 30.0

Made = tuple[Any, Any, Any]
VALID: Final = MessageCodec(Fill, "fill", MemorySchemaStore()).encode(Fill(items=[Item(value=1)] * 5))
EVENT: Final = MessageCodec(Filled, "filled", MemorySchemaStore()).encode(Filled(count=1))


def headers_of(rng: Random) -> Any:
    return list(command_headers(CommandHeaders(f"g-{rng.random()}", "fill", "/stranger", int(time.time() * 1_000))))


def key_of(rng: Random) -> bytes:
    return b"stranger-%d" % rng.randrange(100)


def flipped(rng: Random, value: bytes) -> bytes:
    found = bytearray(value)
    for _ in range(3):
        found[rng.randrange(len(found))] ^= 1 << rng.randrange(8)
    return bytes(found)


# Key, value and headers of each kind.
KINDS: Final[dict[str, Callable[[Random], Made]]] = {
    "random bytes": lambda rng: (key_of(rng), rng.randbytes(rng.randrange(1, 500)), headers_of(rng)),
    "no value": lambda rng: (key_of(rng), None, headers_of(rng)),
    "empty": lambda rng: (key_of(rng), b"", None),
    "no key": lambda rng: (None, VALID, headers_of(rng)),
    "a key that is no text": lambda rng: (b"\xff" + rng.randbytes(4), VALID, headers_of(rng)),
    "a long key": lambda rng: (b"k" * rng.randrange(1_025, 5_000), VALID, headers_of(rng)),
    "cut off": lambda rng: (key_of(rng), VALID[: rng.randrange(len(VALID))], headers_of(rng)),
    "bits flipped": lambda rng: (key_of(rng), flipped(rng, VALID), headers_of(rng)),
    "an unknown schema": lambda rng: (key_of(rng), b"\xc3\x01" + rng.randbytes(30), headers_of(rng)),
    "a huge count": lambda rng: (key_of(rng), VALID[:10] + b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f", headers_of(rng)),
    "deep JSON": lambda rng: (key_of(rng), b'{"name":"a","type":' + b"[" * rng.randrange(2_000, 9_000), None),
    "numbers out of bounds": lambda rng: (
        key_of(rng),
        b'{"partitions": 1e999, "topic_id": NaN, "x": 1' + b"0" * 5_000 + b"}",
        None,
    ),
    "hundreds of headers": lambda rng: (key_of(rng), VALID, [(f"h{n}", rng.randbytes(9)) for n in range(300)]),
    "headers of nonsense": lambda rng: (key_of(rng), EVENT, [(name, rng.randbytes(20)) for name, _ in headers_of(rng)]),
}
# Without a key that can be read, nobody can tell which aggregate an event would be of: it stops the partition, as it must.
KEYLESS: Final = frozenset({"no key", "a key that is no text"})


def write_garbage(attacked: Attacked, rng: Random, count: int) -> None:
    names = attacked.names
    topics = [
        names.commands("box"),
        names.events("box"),
        names.replies,
        names.schemas,
        names.meta,
        names.dead_letters("box"),
    ]
    each = -(-count // (len(topics) * len(KINDS)))
    for topic in topics:
        compacted = topic in (names.schemas, names.meta)
        records = []
        for kind, make in KINDS.items():
            if topic == names.events("box") and kind in KEYLESS:
                continue
            for _ in range(each):
                key, value, headers = make(rng)
                if compacted:  # under keys that mean something there, and under others
                    key = rng.choice([key or b"x", b"%016x" % rng.getrandbits(64), names.events("box").encode()])
                records.append((key, value, headers))
        rng.shuffle(records)
        attacked.produce(topic, records)


def attack(rig: Rig, count: int) -> None:
    attacked = Attacked(rig, rig.settings)
    with app.connect(attacked.settings) as client:
        attacked.every_partition_answers(client)
        quiet = attacked.restart()
        write_garbage(attacked, rig.rng, count)
        attacked.every_partition_answers(client)
        attacked.stays_within_memory()
        started = attacked.restart()
        attacked.every_partition_answers(client)
        attacked.stays_within_memory()
    with app.connect(attacked.settings) as client:
        attacked.every_partition_answers(client)
    assert started < quiet + START_SECONDS, json.dumps({"before": quiet, "after": started})


def test_garbage_in_every_topic_stops_nobody(rig: Rig) -> None:
    attack(rig, FEW)


@pytest.mark.sweep
def test_eleven_thousand_garbage_records_stop_nobody(rig: Rig) -> None:
    attack(rig, ALL)
