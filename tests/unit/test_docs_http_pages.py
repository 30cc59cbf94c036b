"""What the pages about FastAPI and Django answer to each of a client's errors, and what they log."""

from __future__ import annotations

import inspect
import json
import logging
import runpy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import django
import pytest
from django.conf import settings
from django.test import RequestFactory
from fastapi.testclient import TestClient

from eventsource import Rejected, errors
from eventsource.errors import EventSourceError
from tests.snippets import ROOT, Page


class Overdrawn(Rejected, code="overdrawn"):
    cents: int


NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECRET = "broker-7.internal:9092"
EXPECTED: list[tuple[Exception, int]] = [
    (errors.InvalidArgument("no id"), 400),
    (errors.NotFound("account", "7"), 404),
    (errors.AlreadyExists("account", "7"), 409),
    (errors.VersionConflict("7", 1, 2), 409),
    (errors.CommandIdReused("c-1"), 409),
    (errors.Expired("c-1", 1.0), 410),
    (errors.MessageTooLarge("too large"), 413),
    (errors.EncodeError("a number of more than 64 bits"), 422),
    (Overdrawn(cents=7), 422),
    (errors.Backlogged(3), 429),
    (errors.BrokerUnavailable(SECRET), 503),
    (errors.DatabaseUnavailable(SECRET), 503),
    (errors.NotCaughtUp(SECRET), 503),
    (errors.OutcomeUnknown("c-1", NOW, 3.0), 504),
    (errors.HandlerFailed("c-1", "KeyError", SECRET), 500),
    (errors.DecodeError(SECRET), 500),
    (errors.TopicMismatch(SECRET), 500),
]
IDS = [type(error).__name__ for error, _ in EXPECTED]


def file_of(page: str, name: str, folder: Path) -> dict[str, Any]:
    """The names in a file that a page gives in pieces."""
    pieces = [snippet.text for snippet in Page.read(ROOT / "docs" / page).snippets if snippet.file == name]
    path = folder / "page.py"
    path.write_text("\n\n".join(pieces))
    return runpy.run_path(str(path))


@pytest.fixture
def api(tmp_path: Path) -> Any:
    return file_of("fastapi.md", "api.py", tmp_path)["api"]


@pytest.fixture
def middleware(tmp_path: Path) -> Any:
    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"])
        django.setup()
    return file_of("django.md", "web/middleware.py", tmp_path)["BankErrors"](lambda request: None)


@pytest.mark.parametrize(("error", "status"), EXPECTED, ids=IDS)
def test_fastapi_answers_each_error_with_its_status_and_logs_those_of_the_server(
    api: Any, error: Exception, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    @api.get("/fail")
    def fail() -> None:
        raise error

    with caplog.at_level(logging.INFO, "bank.api"):
        answer = TestClient(api, raise_server_exceptions=False).get("/fail")  # without its lifespan: no client connects
    assert answer.status_code == status
    assert ("Retry-After" in answer.headers) == isinstance(error, errors.Retriable)
    check(answer.json(), error, status, [record for record in caplog.records if record.name == "bank.api"])


@pytest.mark.parametrize(("error", "status"), EXPECTED, ids=IDS)
def test_django_answers_each_error_with_its_status_and_logs_those_of_the_server(
    middleware: Any, error: Exception, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "bank.web"):
        answer = middleware.process_exception(RequestFactory().get("/fail"), error)
    if status == 500:
        assert answer is None  # Django's own, logged by it
        return
    assert answer.status_code == status
    assert ("Retry-After" in answer.headers) == isinstance(error, errors.Retriable)
    check(json.loads(answer.content), error, status, caplog.records)


def check(body: dict[str, Any], error: Exception, status: int, logged: list[logging.LogRecord]) -> None:
    assert SECRET not in json.dumps(body)
    assert body["error"] == (error.code if isinstance(error, Rejected) else type(error).__name__)
    if status < 500:
        assert logged == []
        return
    (record,) = logged
    assert record.levelno == logging.ERROR
    assert f"GET '/fail': {status}, {type(error).__name__}: {error}" in record.getMessage()
    assert (record.exc_info is not None) == (status == 500)


def test_no_error_that_says_nothing_was_sent_is_answered_as_the_servers_fault(api: Any) -> None:
    """Errors whose docstring says that the caller can correct them have a status of their own."""
    expected = {type(error) for error, status in EXPECTED if status < 500}
    for name, kind in vars(errors).items():
        if (
            isinstance(kind, type)
            and issubclass(kind, EventSourceError)
            and "Nothing was sent" in (inspect.getdoc(kind) or "")
        ):
            assert any(issubclass(kind, known) for known in expected), name
