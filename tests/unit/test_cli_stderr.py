"""Where stderr is no terminal, each of its lines is a JSON object, whoever writes it."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import logging
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from eventsource.cli.output import note, report, warn
from eventsource.cli.stderr import JsonLines, LogFormat, plain_stderr, standard_error


class File(io.StringIO):
    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


def lines(file: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.getvalue().splitlines()]


@pytest.fixture
def file() -> File:
    return File(terminal=False)


@pytest.fixture
def terminal() -> File:
    return File(terminal=True)


@contextlib.contextmanager
def stderr_is(file: File, chosen: LogFormat) -> Iterator[None]:
    with contextlib.redirect_stderr(file), standard_error(chosen):
        yield


def test_what_commands_say_is_an_object_with_the_keys_of_a_log_line(file: File) -> None:
    with stderr_is(file, "auto"):
        note("done")
        warn("careful")
        report("error: no", {"class": "TopicMissing", "message": "no", "exit_code": 4}, always_json=False)
    done, careful, error = lines(file)
    assert list(done) == ["timestamp", "level", "logger", "event"]
    assert (done["level"], done["logger"], done["event"]) == ("info", "eventsource.cli", "done")
    assert (careful["level"], careful["event"]) == ("warning", "careful")
    assert (error["level"], error["event"], error["class"]) == ("error", "command_failed", "TopicMissing")
    assert (error["message"], error["exit_code"]) == ("no", 4)


def test_what_anybody_prints_there_becomes_an_object_a_line(file: File) -> None:
    with stderr_is(file, "json"):
        print("two\nlines", file=sys.stderr)
        sys.stderr.write("in ")
        sys.stderr.write("parts\n\nand postgresql://me:hunter2@host/db")
    assert [(line["logger"], line["event"]) for line in lines(file)[:3]] == [
        ("stderr", "two"),
        ("stderr", "lines"),
        ("stderr", "in parts"),
    ]
    assert "hunter2" not in file.getvalue()


def test_a_failing_thread_and_a_failing_finalizer_are_one_object_each(file: File) -> None:
    class Broken:
        def __del__(self) -> None:
            raise ZeroDivisionError("in del")

    def fail() -> None:
        raise ZeroDivisionError("in thread")

    with stderr_is(file, "json"):
        thread = threading.Thread(target=fail, name="mine")
        thread.start()
        thread.join()
        Broken()
        gc.collect()
    thread_failed, ignored = lines(file)
    assert (thread_failed["event"], thread_failed["thread"]) == ("thread_failed", "mine")
    assert thread_failed["error"] == "ZeroDivisionError: in thread"
    assert thread_failed["at"].startswith(__file__)
    assert (ignored["event"], ignored["error"]) == ("exception_ignored", "ZeroDivisionError: in del")


def test_a_terminal_and_text_are_for_people(terminal: File) -> None:
    with stderr_is(terminal, "auto"):
        note("a\x1b[31mred\u202e\nnext")
        report("error: no", {"class": "TopicMissing"}, always_json=False)
    assert terminal.getvalue() == "a\\x1b[31mred\\u202e\nnext\nerror: no\n"


def test_text_may_be_chosen_for_a_file(file: File) -> None:
    with stderr_is(file, "text"):
        assert plain_stderr() is file
        note("done")
    assert file.getvalue() == "done\n"


def test_with_json_asked_for_an_error_is_an_object_on_a_terminal_too(terminal: File) -> None:
    with stderr_is(terminal, "auto"):
        report("error: no", {"class": "TopicMissing", "exit_code": 4}, always_json=True)
    (error,) = lines(terminal)
    assert error["class"] == "TopicMissing"


def test_the_file_below_is_where_the_log_goes(file: File) -> None:
    with stderr_is(file, "json"):
        assert isinstance(sys.stderr, JsonLines)
        assert plain_stderr() is file


EVERYBODY = """
import logging, os, sys, threading, warnings
from pathlib import Path
Path("mine.py").write_text('''
import logging, sys, warnings
print("from the app", file=sys.stderr)
warnings.warn("from python")
logging.getLogger("users.own").warning("from logging %s", "here")
import structlog
structlog.get_logger("eventsource.x").warning("from structlog", ratio=float("nan"), raw=b"\\\\xff")
from eventsource import App
app = App("mine", aggregates=[])
''')
from eventsource.cli.main import main
sys.exit(main(["events", "show", "mine:app", "nothing", "7"]))
"""


def test_whoever_writes_to_the_stderr_of_a_command_it_is_json(tmp_path: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(EVERYBODY)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    found = [json.loads(line) for line in done.stderr.splitlines()]
    events = [line["event"] for line in found]
    assert done.returncode == 2
    assert events[0] == "from the app"
    assert "from python" in events[1]
    assert events[2:] == ["from logging here", "from structlog", "command_failed"]
    assert found[3]["ratio"] == "NaN"
    assert all({"timestamp", "level", "logger", "event"} <= line.keys() for line in found)


def test_nothing_of_this_stays_behind(file: File) -> None:
    hooks = (threading.excepthook, sys.unraisablehook)
    with stderr_is(file, "json"):
        assert (threading.excepthook, sys.unraisablehook) != hooks
    assert (threading.excepthook, sys.unraisablehook) == hooks
    assert not any(isinstance(handler.stream, JsonLines) for handler in _stream_handlers())  # type: ignore[attr-defined]


def _stream_handlers() -> list[logging.Handler]:
    return [handler for handler in logging.getLogger().handlers if hasattr(handler, "stream")]
