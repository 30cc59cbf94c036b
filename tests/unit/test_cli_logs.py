from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from eventsource.cli.logs import configure_logging


@pytest.fixture(autouse=True)
def logging_restored() -> Iterator[None]:
    root, structured = logging.getLogger(), structlog.get_config()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.configure(**structured)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def configured(level: str = "info", *, debug: bool = False) -> io.StringIO:
    stream = io.StringIO()
    configure_logging(stream, level=level, debug=debug)
    return stream


def test_elsewhere_than_on_a_terminal_each_line_is_json() -> None:
    stream = configured()
    structlog.get_logger("eventsource.worker").info("worker_is_ready", runners=["one"])
    (line,) = lines(stream)
    assert line["event"] == "worker_is_ready"
    assert line["runners"] == ["one"]
    assert line["level"] == "info"
    assert line["logger"] == "eventsource.worker"
    assert line["timestamp"].endswith("Z")
    assert list(line) == ["timestamp", "level", "logger", "event", "runners"]


def test_on_a_terminal_lines_are_for_people() -> None:
    stream = Terminal()
    configure_logging(stream, level="info", debug=False)
    structlog.get_logger("eventsource.worker").info("worker_is_ready")
    assert "worker_is_ready" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_the_standard_library_and_warnings_come_along() -> None:
    stream = configured()
    logging.getLogger("users.own").warning("disk %s", "full")
    warnings.warn("old", stacklevel=1)
    events = [line["event"] for line in lines(stream)]
    assert events[0] == "disk full"
    assert "old" in events[1]


def test_the_level_decides_and_other_libraries_never_chatter() -> None:
    stream = configured("warning")
    structlog.get_logger("eventsource.x").info("quiet")
    structlog.get_logger("eventsource.x").warning("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]
    stream = configured("debug", debug=True)
    logging.getLogger("sqlalchemy.engine").debug("chatter")
    structlog.get_logger("eventsource.x").debug("told")
    assert [line["event"] for line in lines(stream)] == ["told"]


def failure() -> Exception:
    try:
        raise ZeroDivisionError("oops")
    except ZeroDivisionError as error:
        return error


@pytest.mark.parametrize("how", ["structlog", "logging", "instance"])
def test_a_traceback_is_shown_with_debug_alone(how: str) -> None:
    def log() -> None:
        if how == "instance":
            structlog.get_logger("eventsource.x").error("failed", exc_info=failure())
            return
        try:
            raise failure()
        except ZeroDivisionError:
            if how == "structlog":
                structlog.get_logger("eventsource.x").exception("failed")
            else:
                logging.getLogger("eventsource.x").exception("failed")

    stream = configured()
    log()
    assert "Traceback" not in stream.getvalue()
    assert lines(stream)[0]["error"] == "ZeroDivisionError: oops"
    stream = configured(debug=True)
    log()
    assert "Traceback" in stream.getvalue()


def test_a_traceback_keeps_its_lines_and_cannot_steer_a_terminal() -> None:
    stream = io.StringIO()
    configure_logging(stream, level="info", debug=True, as_json=False)
    try:
        raise ValueError("\x1b[2J")
    except ValueError:
        structlog.get_logger("eventsource.x").exception("failed")
    assert "\x1b[2J" not in stream.getvalue()
    assert stream.getvalue().count("\n") > 3


def test_no_secret_is_written_even_if_somebody_logs_one() -> None:
    stream = configured()
    log = structlog.get_logger("eventsource.x")
    log.info(
        "connecting to postgresql://me:hunter2@host/db", sasl_password="hunter2", url="postgresql://me:hunter2@host/db"
    )
    logging.getLogger("users.own").warning("at %s", "postgresql://me:hunter2@host/db")
    assert "hunter2" not in stream.getvalue()
    assert len(lines(stream)) == 2
