from __future__ import annotations

import gc
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from eventsource.cli import process_memory


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What is set in an allocator that nobody else set up."""
    for name in ("MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    found: list[tuple[int, int]] = []

    def mallopt(option: int, value: int) -> int:
        found.append((option, value))
        return 1

    library = SimpleNamespace(mallopt=mallopt)
    monkeypatch.setattr(process_memory.ctypes, "CDLL", lambda _: library)
    return found


def test_large_blocks_are_given_back(options: list[tuple[int, int]]) -> None:
    process_memory.give_large_blocks_back()
    assert options == [(-3, 262_144)]  # M_MMAP_THRESHOLD


@pytest.mark.parametrize(
    ("name", "value"),
    [("MALLOC_MMAP_THRESHOLD_", "131072"), ("GLIBC_TUNABLES", "glibc.cpu.x=1:glibc.malloc.mmap_threshold=131072")],
)
def test_what_the_user_set_up_is_left_alone(
    options: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    process_memory.give_large_blocks_back()
    assert options == []


@pytest.mark.parametrize("tunables", ["glibc.cpu.x=1", "glibc.malloc.tcache_count=20000:glibc.malloc.mxfast=0"])
def test_tunables_of_other_things_say_nothing_of_large_blocks(
    options: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch, tunables: str
) -> None:
    monkeypatch.setenv("GLIBC_TUNABLES", tunables)
    process_memory.give_large_blocks_back()
    assert options


def test_an_allocator_that_refuses_is_told_of(options: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_memory.ctypes, "CDLL", lambda _: SimpleNamespace(mallopt=lambda *_: 0))
    with capture_logs() as logs:
        process_memory.give_large_blocks_back()
    assert [entry["event"] for entry in logs] == ["allocator_left_alone"]
    assert options == []


def test_another_c_library_has_no_such_option(options: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_memory.ctypes, "CDLL", lambda _: SimpleNamespace())
    process_memory.give_large_blocks_back()
    assert options == []


def test_cycles_are_looked_for_less_often() -> None:
    before = gc.get_threshold()
    try:
        process_memory.collect_garbage_less_often()
        assert gc.get_threshold()[0] == 1_000_000
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
