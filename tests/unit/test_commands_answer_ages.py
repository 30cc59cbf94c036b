from __future__ import annotations

import pytest

from eventsource.commands.answer_ages import AnswerAges
from eventsource.commands.packed_map import PackedMap
from tests.packed_maps import check_packed_map


def saved(**answers: bytes) -> AnswerAges:
    ages = AnswerAges()
    for command_id, answer in answers.items():
        ages.put(command_id, answer)
    ages.saved()
    return ages


def test_what_is_unsaved_is_never_dropped() -> None:
    ages = saved(known=b"1")
    ages.put("new", b"2")
    ages.turn()
    ages.turn()
    assert (ages.get("new"), ages.get("known")) == (b"2", None)
    assert ages.unsaved_items() == [(b"new", b"2")]
    assert ages.unsaved == 1


def test_where_all_is_unsaved_nothing_is_dropped() -> None:
    ages = AnswerAges()
    ages.put("a", b"1")
    ages.turn()
    ages.turn()
    assert ages.complete
    assert (ages.young_bytes, ages.old_bytes) == (0, 0)


def test_what_nobody_asked_for_during_an_age_is_dropped() -> None:
    ages = saved(asked=b"1", forgotten=b"2")
    ages.turn()
    assert ages.complete
    assert ages.get("asked") == b"1"
    ages.turn()
    assert (ages.get("asked"), ages.get("forgotten")) == (b"1", None)
    assert not ages.complete
    ages.turn()
    ages.turn()
    assert ages.get("asked") is None


def test_what_is_read_from_disk_is_young_and_not_saved_again() -> None:
    ages = saved()
    ages.add_saved("a", b"1")
    assert ages.get("a") == b"1"
    assert (ages.unsaved, ages.unsaved_items()) == (0, [])
    assert ages.young_bytes > 0
    ages.turn()
    assert ages.get("a") == b"1"
    assert ages.old_bytes > 0


def test_an_answer_that_was_asked_for_is_found_for_two_more_ages_and_counted() -> None:
    ages = saved(asked=b"1", other=b"2")
    ages.turn()
    assert ages.get("asked") == b"1"
    ages.turn()
    assert ages.old_bytes > 0
    assert len(ages) == 1
    assert ages.get("asked") == b"1"
    assert ages.all_bytes == ages.old_bytes + ages.young_bytes
    ages.drop_old()
    assert ages.get("asked") == b"1"  # young again, since it was asked for
    assert ages.old_bytes == 0


def test_a_save_empties_what_is_unsaved_and_the_newest_answer_counts() -> None:
    ages = AnswerAges()
    ages.put("a", b"1")
    ages.put("a", b"2")
    ages.put("b", b"3")
    assert dict(ages.unsaved_items()) == {b"a": b"2", b"b": b"3"}
    ages.saved()
    assert (ages.unsaved, ages.unsaved_items(), ages.unsaved_bytes) == (0, [], 0)
    ages.put("a", b"4")
    assert ages.get("a") == b"4"
    assert ages.unsaved_items() == [(b"a", b"4")]


def test_without_a_disk_an_age_ends_with_all_that_came_in_it() -> None:
    ages = AnswerAges()
    ages.put("first", b"1")
    ages.drop_unsaved_age()
    ages.put("second", b"2")
    assert (ages.get("first"), ages.get("second")) == (b"1", b"2")
    ages.drop_unsaved_age()
    assert (ages.get("first"), ages.get("second")) == (None, b"2")


def test_its_sizes_add_up_and_an_empty_one_takes_nothing() -> None:
    assert AnswerAges().all_bytes == 0
    ages = saved(**{f"c{number}": b"x" * 27 for number in range(1_000)})
    for number in range(1_000):
        ages.put(f"n{number}", b"x" * 27)
    assert ages.unsaved_bytes == pytest.approx(ages.young_bytes, rel=0.1)
    assert ages.all_bytes == ages.unsaved_bytes + ages.young_bytes + ages.old_bytes
    assert 1_000 * 60 < ages.unsaved_bytes < 1_000 * 300
    ages.saved()
    ages.turn()
    assert (ages.young_bytes, ages.unsaved_bytes) == (0, 0)
    ages.drop_old()
    assert (ages.all_bytes, len(ages), ages.complete) == (0, 0, False)


def test_a_packed_map_is_a_map_that_knows_what_came_since_its_mark() -> None:
    check_packed_map(PackedMap)
