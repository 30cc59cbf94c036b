"""Noticing that the app's source changed."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from eventsource.cli.source_watch import SourceWatch


@pytest.mark.parametrize("use_watchfiles", [True, False])
def test_a_changed_file_is_noticed_once(tmp_path: Path, use_watchfiles: bool) -> None:
    (tmp_path / "bank").mkdir()
    (tmp_path / "bank" / "account.py").write_text("")
    watch = SourceWatch(tmp_path, use_watchfiles=use_watchfiles)
    try:
        assert wait_until_changed(watch, tmp_path / "bank" / "account.py")
        assert not watch.changed()
    finally:
        watch.close()


@pytest.mark.parametrize("use_watchfiles", [True, False])
@pytest.mark.parametrize("place", ["shop.py", "bank/account.py", "bank/new/deep.py"])
def test_every_save_by_renaming_is_noticed(tmp_path: Path, use_watchfiles: bool, place: str) -> None:
    file = tmp_path / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("")
    watch = SourceWatch(tmp_path, use_watchfiles=use_watchfiles)
    try:
        for _ in range(3):
            assert wait_until_saved_is_noticed(watch, file)
    finally:
        watch.close()


@pytest.mark.parametrize("use_watchfiles", [True, False])
def test_a_change_at_the_very_start_is_noticed(tmp_path: Path, use_watchfiles: bool) -> None:
    (tmp_path / "shop.py").write_text("")
    watch = SourceWatch(tmp_path, use_watchfiles=use_watchfiles)
    os.utime(tmp_path / "shop.py", ns=(7, 7))
    try:
        assert any(watch.changed() or threading.Event().wait(0.05) for _ in range(200))
    finally:
        watch.close()


@pytest.mark.parametrize("use_watchfiles", [True, False])
def test_a_folder_that_appears_is_watched(tmp_path: Path, use_watchfiles: bool) -> None:
    watch = SourceWatch(tmp_path, use_watchfiles=use_watchfiles)
    try:
        (tmp_path / "bank").mkdir()
        (tmp_path / "bank" / "account.py").write_text("")
        assert wait_until_changed(watch, tmp_path / "bank" / "account.py")
        assert wait_until_changed(watch, tmp_path / "bank" / "account.py")
    finally:
        watch.close()


def wait_until_saved_is_noticed(watch: SourceWatch, path: Path) -> bool:
    """Saves as vim, PyCharm and `sed -i` do: another file, renamed over the old one. Again until it is seen."""
    for number in range(20):
        other = path.with_suffix(".tmp")
        other.write_text(f"{number = }\n")
        other.replace(path)
        for _ in range(60):
            if watch.changed():
                settle(watch)
                return True
            threading.Event().wait(0.05)
    return False


def wait_until_changed(watch: SourceWatch, path: Path) -> bool:
    # The watcher's thread needs a moment until it listens, so the file is touched until it is seen.
    for number in range(200):
        os.utime(path, ns=(number, number))
        threading.Event().wait(0.05)
        if watch.changed():
            settle(watch)
            return True
    return False


def settle(watch: SourceWatch) -> None:
    """Lets a change that was touched before the first was seen arrive too."""
    quiet = 0
    while quiet < 30:
        quiet = 0 if watch.changed() else quiet + 1
        threading.Event().wait(0.05)
