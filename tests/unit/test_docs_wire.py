"""The wire reference is what another implementation is written from: its numbers are checked against the code."""

from __future__ import annotations

import re
from pathlib import Path

from eventsource.commands.reply import _FIXED as REPLY
from eventsource.commands.status import Status
from eventsource.log.headers import COMMAND_FIXED, EVENT_FIXED
from eventsource.log.partitioner import murmur2, partition_for

PAGE = (Path(__file__).parents[2] / "docs" / "wire.md").read_text(encoding="utf-8")


def test_the_partitions_of_the_examples_are_right() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (-?\d+) \| (\d) \|$", PAGE, re.M)
    assert len(rows) == 3
    for key, signed, partition in rows:
        assert murmur2(key.encode()) == int(signed) & 0xFFFFFFFF
        assert partition_for(key.encode(), 8) == int(partition)


def test_the_fixed_parts_are_as_long_as_the_page_says() -> None:
    assert f"| {COMMAND_FIXED.size}– | texts |" in PAGE
    assert f"| {EVENT_FIXED.size}– | texts |" in PAGE
    assert f"| {REPLY.size}– | texts |" in PAGE


def test_every_status_is_described() -> None:
    described = {int(number) for number in re.findall(r"^\| (\d) \| .*\| .*\| .*\|$", PAGE, re.M)}
    assert described == {int(status) for status in Status}
