"""What holds of either packed map: the one in Python, and the one in machine code."""

from __future__ import annotations

import random

from eventsource.commands.packed_map import PackedMap


def check_packed_map(cls: type[PackedMap]) -> None:
    """Holds a packed map to a dict, over many puts and marks."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    drawn = random.Random(seed)
    packed, plain, since = cls(), dict[str, bytes](), dict[str, bytes]()
    for number in range(20_000):
        key = drawn.choice(("", "é", "k")) + str(drawn.randrange(5_000))
        value = drawn.randbytes(drawn.choice((0, 1, 27, 27, 300)))
        packed.put(key, value)
        plain[key] = since[key] = value
        if drawn.random() < 0.001:
            assert dict(packed.since_mark()) == {key.encode(): value for key, value in since.items()}
            packed.mark()
            since = {}
        if number % 1_000 == 0:
            assert len(packed) == len(plain)
            assert all(packed.get(key) == value for key, value in plain.items())
            assert packed.get("absent") is None
    assert dict(packed.since_mark()) == {key.encode(): value for key, value in since.items()}
