"""The local state store on a real disk: what it keeps, and how it notices that what it holds is of no use."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from eventsource.commands.state_folder import StateFolder, check_state_dir
from eventsource.commands.state_store import StateStore, StoreIdentity, StorePosition
from eventsource.errors import Retriable, SettingsError, StateStoreFailed

IDENTITY = StoreIdentity("account", 3, "aa", "bb", "cc", "code", None)
POSITION = StorePosition(events=10, outcomes=4, newest_event=(9, "c-9/1.1"), newest_outcome=(3, "c-3"), last_origin=12)


def filled(folder: Path, **changes: Any) -> None:
    store = StateStore.open(folder, IDENTITY)
    store.write(replace(POSITION, **changes), [("a-1", 7, 9, b"snapshot")], [(b"c-9", b"answer"), (b"c-3", b"refusal")])
    store.close()


def test_what_was_written_is_there_after_opening_again(tmp_path: Path) -> None:
    filled(tmp_path / "db")
    store = StateStore.open(tmp_path / "db", IDENTITY)
    assert store.position == POSITION
    assert store.aggregates(["a-1", "a-2"]) == {"a-1": (7, 9, b"snapshot")}
    assert store.answers(["c-9", "nope", "c-3"]) == {"c-9": b"answer", "c-3": b"refusal"}
    store.close()


def test_a_new_store_reflects_nothing(tmp_path: Path) -> None:
    store = StateStore.open(tmp_path / "db", IDENTITY)
    assert store.position is None
    assert store.aggregates(["a-1"]) == {}
    store.close()


@pytest.mark.parametrize(
    "changes",
    [
        {"events_topic_id": "made anew"},
        {"commands_topic_id": "made anew"},
        {"outcomes_topic_id": "made anew"},
        {"partition": 4},
        {"aggregate": "order"},
        {"code": "another evolve"},
        {"window_ms": 86_400_000},
        {"format": 99},
    ],
)
def test_anothers_store_is_thrown_away(tmp_path: Path, changes: dict[str, Any]) -> None:
    filled(tmp_path / "db")
    with capture_logs() as logs:
        store = StateStore.open(tmp_path / "db", replace(IDENTITY, **changes))
    assert store.position is None
    assert store.aggregates(["a-1"]) == {}
    assert [entry["event"] for entry in logs] == ["state_store_discarded"]
    assert next(iter(changes)) in logs[0]["reason"]
    store.close()


def overwrite(file: Path) -> None:
    file.write_bytes(b"\xff" * max(64, file.stat().st_size))


@pytest.mark.parametrize("pattern", ["CURRENT", "MANIFEST-*"])
@pytest.mark.parametrize("damage", [overwrite, Path.unlink], ids=["overwritten", "removed"])
def test_a_torn_store_is_thrown_away(tmp_path: Path, pattern: str, damage: Callable[[Path], None]) -> None:
    filled(tmp_path / "db")
    for file in (tmp_path / "db").glob(pattern):
        damage(file)
    store = StateStore.open(tmp_path / "db", IDENTITY)
    assert store.position is None
    store.write(POSITION, [("a-1", 1, 1, b"new")], [])
    store.close()
    assert StateStore.open(tmp_path / "db", IDENTITY).position == POSITION


def test_a_write_that_was_cut_off_leaves_the_one_before(tmp_path: Path) -> None:
    store = StateStore.open(tmp_path / "db", IDENTITY)
    store.write(POSITION, [("a-1", 7, 9, b"before")], [(b"c-9", b"answer")])
    (log,) = (tmp_path / "db").glob("*.log")
    size_before = log.stat().st_size
    store.write(replace(POSITION, events=20), [("a-1", 8, 19, b"after" * 100)], [(b"c-19", b"answer")])
    shutil.copytree(tmp_path / "db", tmp_path / "of a killed process")  # closed, everything would be in its place
    store.close()
    (log,) = (tmp_path / "of a killed process").glob("*.log")
    with log.open("r+b") as file:
        file.truncate(size_before + 40)
    store = StateStore.open(tmp_path / "of a killed process", IDENTITY)
    assert store.position == POSITION
    assert store.aggregates(["a-1"]) == {"a-1": (7, 9, b"before")}
    assert store.answers(["c-19"]) == {}
    store.close()


def test_a_rotten_block_is_an_error_and_no_answer(tmp_path: Path) -> None:
    filled(tmp_path / "db")
    for file in (tmp_path / "db").glob("*.sst"):
        data = bytearray(file.read_bytes())
        data[10:30] = bytes(20)
        file.write_bytes(data)
    store = StateStore.open(tmp_path / "db", IDENTITY)
    if store.position is not None:  # RocksDB may notice while it opens, too
        with pytest.raises(StateStoreFailed, match="cannot be read"):
            store.answers(["c-9"])
    store.close()


def test_a_store_that_cannot_stand_for_all_aggregates_is_not_used_again(tmp_path: Path) -> None:
    filled(tmp_path / "db", missing=1)
    assert StateStore.open(tmp_path / "db", IDENTITY).position is None


def test_answers_are_forgotten_once_their_window_is_over(tmp_path: Path) -> None:
    store = StateStore.open(tmp_path / "db", replace(IDENTITY, window_ms=1_000))
    write = store.write
    write(replace(POSITION, events=1, newest_ms=1_000), [], [(b"old", b"1")], forget_before_ms=0)
    write(replace(POSITION, events=2, newest_ms=2_000), [], [(b"edge", b"2")], forget_before_ms=0)
    write(replace(POSITION, events=3, newest_ms=9_000), [], [(b"new", b"3")], forget_before_ms=2_000)
    assert set(store.answers(["old", "edge", "new"])) == {"edge", "new"}
    write(replace(POSITION, events=4, newest_ms=9_000), [], [], forget_before_ms=2_001)
    assert set(store.answers(["old", "edge", "new"])) == {"new"}
    store.close()


def test_looking_for_ids_keeps_no_blocks_in_memory(tmp_path: Path) -> None:
    """Ids are looked for with every command, for ever, and are hardly ever there: what is looked into must not pile up."""
    ids = [f"c-{number:06}" for number in range(20_000)]
    store = StateStore.open(tmp_path / "db", IDENTITY)
    aggregates = [(f"a-{number:06}", 1, number, b"snapshot") for number in range(20_000)]
    store.write(POSITION, aggregates, [(id_.encode(), b"answer") for id_ in ids])
    store.close()
    store = StateStore.open(tmp_path / "db", IDENTITY)

    def cached_bytes() -> int:
        return store._rocks().property_int_value("rocksdb.block-cache-usage") or 0

    before = cached_bytes()
    assert len(store.answers(ids)) == 20_000
    assert store.answers([f"{id_}-new" for id_ in ids]) == {}
    assert cached_bytes() == before
    store.aggregates([id_ for id_, *_ in aggregates])
    assert cached_bytes() > before + 100_000  # aggregates are asked for again
    store.close()


def test_a_failing_disk_is_an_error_that_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = StateStore.open(tmp_path / "db", IDENTITY)

    class Full:
        def write(self, _batch: object) -> None:
            raise Exception("IO error: No space left on device")

    monkeypatch.setattr(store, "_database", Full())
    with pytest.raises(StateStoreFailed, match=r"No space left.*EVENTSOURCE_WORKER__STATE_DIR") as raised:
        store.write(POSITION, [], [])
    assert isinstance(raised.value, Retriable)


def test_a_folder_that_cannot_be_made_is_an_error_that_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StateStoreFailed, match="EVENTSOURCE_WORKER__STATE_DIR"):
        StateFolder.claim(tmp_path / "file", "bank", "account", 0)


def test_a_held_folder_is_left_to_its_holder_and_tidied_up_after_it(tmp_path: Path) -> None:
    first = StateFolder.claim(tmp_path, "bank", "account", 0)
    second = StateFolder.claim(tmp_path, "bank", "account", 0)
    assert first.path != second.path
    second.path.mkdir()
    first.release()
    second.release()
    again = StateFolder.claim(tmp_path, "bank", "account", 0)
    assert again.path == first.path
    assert not second.path.exists()
    again.release()


def test_a_folder_is_free_when_its_holder_was_killed(tmp_path: Path) -> None:
    held = (
        "import sys, time; from pathlib import Path; from eventsource.commands.state_folder import StateFolder\n"
        "StateFolder.claim(Path(sys.argv[1]), 'bank', 'account', 0); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", held, os.fspath(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        taken = StateFolder.claim(tmp_path, "bank", "account", 0)
        assert taken.path.parent.name == "0.1"
        taken.release()
        holder.kill()
        holder.wait()
    free = StateFolder.claim(tmp_path, "bank", "account", 0)
    assert free.path.parent.name == "0.0"
    free.release()


def test_a_night_of_answers_is_forgotten_bit_by_bit(tmp_path: Path) -> None:
    store = StateStore.open(tmp_path / "db", replace(IDENTITY, window_ms=1_000))
    ids = [f"c-{number}" for number in range(90_000)]
    for start in range(0, 90_000, 10_000):
        position = replace(POSITION, events=start, newest_ms=1_000 + start)
        store.write(position, [], [(id_.encode(), b"1") for id_ in ids[start : start + 10_000]], forget_before_ms=0)
    left = []
    for number in range(6):
        position = replace(POSITION, events=100_000 + number, newest_ms=1_000_000)
        store.write(position, [], [(b"new-%d" % number, b"1")], forget_before_ms=900_000)
        left.append(len(store.answers(ids)))
    assert left == [60_000, 30_000, 0, 0, 0, 0]
    assert len(store.answers([f"new-{number}" for number in range(6)])) == 6
    store.close()


def test_a_folder_that_cannot_be_written_is_told_at_the_start(tmp_path: Path) -> None:
    check_state_dir(tmp_path / "stores", "bank", ["account", "order"])
    assert sorted(path.name for path in (tmp_path / "stores" / "bank").iterdir()) == ["account", "order"]
    assert list((tmp_path / "stores" / "bank" / "account").iterdir()) == []
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SettingsError, match=r"file/bank/account.*Not a directory.*EVENTSOURCE_WORKER__STATE_DIR"):
        check_state_dir(tmp_path / "file", "bank", ["account"])
