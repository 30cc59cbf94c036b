"""A batch of records that librdkafka cannot read: torn, or larger than it unpacks. Where it ends, found by trying."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from confluent_kafka import KafkaError

from eventsource.errors import LogError

_BASE: Final = re.compile(r"at (?:offset )?(\d+)")


class BatchUnreadable(LogError):  # never leaves a reader of a topic that holds no facts, which passes over such a batch
    """Raised where a partition has a batch that cannot be read. `base` is its first offset."""

    def __init__(self, place: tuple[str, int], base: int, reason: str) -> None:
        super().__init__(
            f"reading {place[0]}[{place[1]}]: the batch at offset {base} cannot be read ({reason}): find out who wrote it, and check the "
            "broker's disk"
        )
        self.place = place
        self.base = base


def base_of(error: KafkaError, position: int) -> int:
    """The first offset of the batch that an error is about: as librdkafka says, else where the reader stands."""
    found = _BASE.search(error.str())
    return int(found.group(1)) if found is not None else position


def offset_behind(base: int, end: int, is_inside: Callable[[int], bool]) -> int:
    """The first offset behind the batch that begins at `base`, `end` at most. It asks for as many offsets as twice the logarithm."""
    inside, step = base, 1
    while True:
        behind = min(inside + step, end)
        if behind >= end or not is_inside(behind):
            break
        inside, step = behind, 2 * step
    while behind - inside > 1:
        middle = (inside + behind) // 2
        if is_inside(middle):
            inside = middle
        else:
            behind = middle
    return behind
