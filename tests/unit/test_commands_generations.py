from __future__ import annotations

from eventsource.commands.generations import Generations
from eventsource.commands.memory_budget import MemoryBudget, size_bytes


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
