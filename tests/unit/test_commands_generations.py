from __future__ import annotations

import pytest

from eventsource.commands.generations import Generations
from eventsource.commands.memory_budget import MemoryBudget, StateSizes, size_bytes


def test_what_is_unsaved_is_never_dropped() -> None:
    ages: Generations[str, int] = Generations()
    ages.unsaved["a"] = 1
    ages.turn()
    ages.turn()
    assert ages.get("a") == 1
    assert ages.complete


def test_what_nobody_asked_for_during_an_age_is_dropped() -> None:
    ages: Generations[str, int] = Generations()
    ages.unsaved.update(asked=1, forgotten=2)
    ages.saved()
    ages.turn()
    assert ages.complete
    assert ages.get("asked") == 1
    ages.turn()
    assert (ages.get("asked"), ages.get("forgotten")) == (1, None)
    assert not ages.complete


def test_a_newer_value_hides_an_older_one() -> None:
    ages: Generations[str, int] = Generations()
    ages.unsaved["a"] = 1
    ages.saved()
    ages.turn()
    ages.unsaved["a"] = 2
    assert ages.get("a") == 2
    ages.saved()
    assert ages.get("a") == 2
    ages.turn()
    assert ages.get("a") == 2
    assert len(ages) == 1


def test_a_budget_is_shared_among_the_owners_that_there_are() -> None:
    budget = MemoryBudget(100)
    assert budget.share_bytes == 100
    budget.enter()
    budget.enter()
    assert budget.share_bytes == 50
    budget.leave()
    assert budget.share_bytes == 100


def test_a_size_counts_what_a_value_holds() -> None:
    assert size_bytes(["x" * 1_000]) > 1_000
    assert size_bytes({"k": {"deep": ["x" * 1_000, "y" * 1_000]}}) > 2_000


def test_entries_are_weighed_by_samples_and_keep_their_weight_through_their_ages() -> None:
    ages: Generations[str, int] = Generations()
    ages.unsaved.update(a=1, b=2, c=3, d=4)
    ages.note(100)
    ages.note(300)
    assert ages.unsaved_bytes == 800
    ages.saved()
    assert (ages.unsaved_bytes, ages.young_bytes) == (0, 800)
    ages.turn()
    assert (ages.young_bytes, ages.old_bytes, ages.all_bytes) == (0, 800, 800)
    assert ages.get("a") == 1
    assert (ages.young_bytes, ages.old_bytes, ages.all_bytes) == (200, 600, 800)
    ages.drop_old()
    assert (ages.all_bytes, len(ages), ages.complete) == (200, 1, False)


def test_what_is_saved_again_counts_once() -> None:
    ages: Generations[str, int] = Generations()
    for _ in range(10):
        ages.unsaved.update(a=1, b=2)
        ages.note(100)
        ages.saved()
    assert ages.all_bytes == 200


def test_a_save_that_knows_better_replaces_the_estimate() -> None:
    ages: Generations[str, int] = Generations()
    ages.unsaved.update(a=1, b=2)
    ages.note(10)
    ages.saved(5_000)
    assert ages.young_bytes == 5_000
    ages.unsaved["c"] = 3
    assert ages.unsaved_bytes == 2_500  # until there is a sample, the newest are like those before
    ages.note(100, 9)
    assert ages.unsaved_bytes == 260


def test_what_is_read_from_disk_has_the_weight_that_it_is_given() -> None:
    ages: Generations[str, int] = Generations()
    ages.add_saved("a", 1, 70)
    ages.add_saved("b", 2, 30)
    assert (ages.young_bytes, ages.young_entry_bytes) == (100, 50)


def test_of_a_long_collection_a_sample_is_measured() -> None:
    asked = []

    class Item:
        def __sizeof__(self) -> int:
            asked.append(1)
            return 1_000

    total = size_bytes([Item() for _ in range(100_000)])
    assert total == pytest.approx(100_000 * 1_000, rel=0.3)
    assert len(asked) <= 200
    assert size_bytes({str(number): "x" * 1_000 for number in range(10_000)}) > 10_000_000


def test_states_are_estimated_by_their_snapshots() -> None:
    sizes = StateSizes()
    assert sizes.unknown
    for snapshot_bytes in (0, 100, 10_000):
        sizes.note(500 + 2 * snapshot_bytes, snapshot_bytes)
    assert sizes.estimate_bytes(0) == 500
    assert sizes.estimate_bytes(50_000) == 100_500
    assert sizes.estimate_bytes(1_000, 10) == 7_000
    for _ in range(1_000):
        sizes.note(500 + 4 * 10_000, 10_000)
    assert sizes.estimate_bytes(10_000) == pytest.approx(40_500, rel=0.05)
