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
