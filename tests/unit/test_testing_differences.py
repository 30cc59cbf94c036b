"""Exact comparison and readable diffs."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from eventsource.domain import Event
from eventsource.testing.differences import changes, diff, same, shown


class Moved(Event, name="moved"):
    source: str
    target: str


class Bare:
    def __init__(self, held: Any) -> None:
        self.held = held


class Slotted:
    __slots__ = ("held",)

    def __init__(self, held: Any) -> None:
        self.held = held


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (Decimal("1.0"), Decimal("1.0"), True),
        (Decimal("1.0"), Decimal("1.00"), False),
        (1, 1.0, False),
        (1, True, False),
        (float("nan"), -float("nan"), True),
        (1.0, 2.0, False),
        ([Decimal("1.0")], [Decimal("1.00")], False),
        ((1, 2), (1, 2), True),
        ((1, 2), (1, 2, 3), False),
        ({"a": 1}, {"a": 1}, True),
        ({"a": 1}, {"b": 1}, False),
        ({"a": None}, {"b": None}, False),
        ({1, 2}, {2, 1}, True),
        (Bare([1]), Bare([1]), True),
        (Bare([1]), Bare([2]), False),
        (Slotted([1]), Slotted([1]), True),
        (Slotted([1]), Slotted([2]), False),
        (Moved(source="a", target="b"), Moved(source="a", target="b"), True),
        (Moved(source="a", target="b"), Moved(source="a", target="c"), False),
    ],
)
def test_values_are_the_same_only_when_nothing_tells_them_apart(one: Any, other: Any, expected: bool) -> None:
    assert same(one, other) is expected


def test_changes_name_what_differs() -> None:
    assert changes({"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 3, "d": 4}) == [
        "b: 2 → 3",
        "c: 3 → (nothing)",
        "d: (nothing) → 4",
    ]


def test_a_wide_message_is_shown_with_a_line_for_each_field() -> None:
    wide = Moved(source="a" * 60, target="b" * 60)
    assert shown(wide) == ["Moved(", f"  source='{'a' * 60}'", f"  target='{'b' * 60}'", ")"]
    assert shown(Moved(source="a", target="b")) == ["Moved(source='a', target='b')"]
    assert shown(7) == ["7"]


def test_a_diff_points_at_the_field() -> None:
    assert diff([Moved(source="a", target="b")], [Moved(source="a", target="c")]) == [
        "  Moved(",
        "    source='a'",
        "-   target='b'",
        "+   target='c'",
        "  )",
    ]
